"""The simulator as the bench uses it: answers in order, every sample that came in kept."""

from __future__ import annotations

import json
import tempfile
from array import array
from pathlib import Path
from subprocess import DEVNULL

from device_agent.bench.demo import Simulator
from tests.analysis import samples


class Server(Simulator):
    """For a `with` block.

    `script`: answers in order, in place of the recogniser; None takes the recogniser.
    """

    def __init__(self, *options: str, script: tuple[str, ...] | None = ("All right.",)) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="device-agent-bench-")
        self._home = Path(self._directory.name)
        answers: list[str] = []
        if script is not None:
            (self._home / "script.json").write_text(json.dumps([{"text": text} for text in script]))
            answers = ["--script", str(self._home / "script.json")]
        super().__init__(self._home / "heard.wav", *options, "--record-raw", str(self._home), *answers, stderr=DEVNULL)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._directory.cleanup()

    @property
    def http_url(self) -> str:
        return self.url.replace("ws:", "http:")

    def received(self, connection: int = 1, accepted_only: bool = True) -> array[int]:
        """The very samples that came in on `connection` (input format pcm_16000).

        `accepted_only` leaves out what the agent threw away: audio before the metadata or while it was queueing.
        """
        file = self._home / f"connection-{connection}.raw"
        everything = samples(file.read_bytes()) if file.exists() else array("h")
        if not accepted_only:
            return everything
        kept = array("h")
        for event in self.of_kind("audio", connection=connection):
            if not event["discarded"]:
                kept.extend(everything[event["samples"] - event["n"] : event["samples"]])
        return kept
