"""The simulator as a child process that can be ordered about, and asked what it witnessed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .signals import samples

Event = dict[str, Any]
START_S = 20.0


class BenchError(Exception):
    """Something that should have been seen was not."""


class Server:
    """For a `with` block. Owns its reader thread, which blocks in reading and ends with the simulator.

    `script`: answers in order, in place of the recogniser; None takes the recogniser.
    """

    def __init__(self, *options: str, script: tuple[str, ...] | None = ("All right.",)) -> None:
        self._options = options
        self._script = script
        self._events: list[Event] = []
        self._grown = threading.Condition()
        self._url = ""

    def __enter__(self) -> Server:
        self._directory = tempfile.TemporaryDirectory(prefix="device-agent-bench-")
        home = Path(self._directory.name)
        options = [*self._options, "--control", "--events", "-", "--record-raw", str(home)]
        if self._script is not None:
            (home / "script.json").write_text(json.dumps([{"text": text} for text in self._script]))
            options += ["--script", str(home / "script.json")]
        self._process = subprocess.Popen(
            (sys.executable, "-m", "device_agent", "bench", "simulate", *options),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, name="events", daemon=True)
        self._thread.start()
        try:
            self.wait("listening", timeout_s=START_S)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        self._directory.cleanup()

    @property
    def http_url(self) -> str:
        return self._url.replace("ws:", "http:")

    @property
    def url(self) -> str:
        return self._url

    def order(self, do: str, **details: Any) -> None:
        """One line of the control channel: `audio`, `interrupt`, `say`, `drop`, `stall`, `close`, `raw`, `tool`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do} | details) + "\n")
        self._process.stdin.flush()

    def events(self, kind: str = "", since: float = 0.0, **facts: Any) -> list[Event]:
        """What was witnessed at or after the monotonic time `since`, of one kind, with these facts."""
        with self._grown:
            return [event for event in self._events if _fits(event, kind, since, facts)]

    def wait(self, kind: str, since: float = 0.0, timeout_s: float = 10.0, **facts: Any) -> Event:
        """The first such event, past or to come. Raises BenchError when it does not come."""

        def found() -> list[Event]:
            return [event for event in self._events if _fits(event, kind, since, facts)][:1]

        with self._grown:
            event: list[Event] = self._grown.wait_for(found, timeout_s)
        if not event:
            raise BenchError(f"the server did not see “{kind}” {facts or ''} within {timeout_s:.0f} s")
        return event[0]

    def received(self, connection: int = 1, accepted_only: bool = True) -> array[int]:
        """The very samples that came in on `connection` (input format pcm_16000).

        `accepted_only` leaves out what the agent threw away: audio before the metadata or while it was queueing.
        """
        file = Path(self._directory.name) / f"connection-{connection}.raw"
        everything = samples(file.read_bytes()) if file.exists() else array("h")
        if not accepted_only:
            return everything
        kept = array("h")
        for event in self.events("audio", connection=connection):
            if not event["discarded"]:
                kept.extend(everything[event["samples"] - event["n"] : event["samples"]])
        return kept

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self._url = line.split()[-1]
            elif line.startswith("{"):
                with self._grown:
                    self._events.append(json.loads(line))
                    self._grown.notify_all()


def _fits(event: Event, kind: str, since: float, facts: Event) -> bool:
    if (kind and event["kind"] != kind) or event["t"] < since:
        return False
    return all(event.get(name) == value for name, value in facts.items())


def until(holds: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Waits, looking every 10 ms, for `holds` to return something true, and returns that. Raises BenchError."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {timeout_s:.0f} s")
        pause.wait(0.01)
    return found
