"""A device whose button can be pressed, and whose light can be seen: `button_device.py` as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.patience import until

CHILD = Path(__file__).with_name("button_device.py")
SETTINGS = ("agent.id=a", "audio.echo=off", "panel.backend=mock", "panel.button_pin=17", "panel.led_pin=27",
            "sounds.speech=false")  # fmt: skip
START_S = 10.0
ANSWER_S = 5.0


class Hand:
    """The device's button, its light as it was ordered, and the level of its LED's pin. All times are monotonic."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[tuple[list[str], float]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def move(self, what: str) -> float:
        """`press`, `release` or another order of `button_device.py`; when it happened."""
        before = len(self._lines)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._when(what, before)

    def hears(self) -> None:
        """Wait until its microphone runs."""
        self._when("up microphone")

    def shows(self, name: str, since: float) -> float:
        """When, at or after `since`, the light was first ordered to show `name`."""
        return self._when(f"light {name}", since=since)

    def lit(self, since: float) -> float:
        """When the LED's pin first changed at or after `since`."""
        return self._when("pin", since=since)

    def brightness(self, since: float, until: float) -> float:
        """The LED's mean level, 0 … 1, between two times."""
        changes = [(t, float(words[1])) for words, t in self._lines if words[0] == "pin" and t <= until]
        spans = zip(changes, [*changes[1:], (until, 0.0)], strict=True)
        return sum(max(0.0, end - max(t, since)) * value for (t, value), (end, _) in spans) / (until - since)

    def ready(self) -> None:
        """Wait until it is there."""
        self._when("ready", timeout=START_S)

    def _when(self, words: str, first: int = 0, since: float = 0.0, timeout: float = ANSWER_S) -> float:
        wanted = words.split()

        def look() -> float | None:
            said = self._lines[first:]
            return next((t for found, t in said if found[: len(wanted)] == wanted and t >= since), None)

        return float(until(look, timeout, f"the device: {words}"))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            *words, t = line.split()
            self._lines.append((words, float(t)))


@contextmanager
def hand(url: str, environ: Mapping[str, str], *settings: str) -> Iterator[Hand]:
    """The device, with the server at `url`; it ends with the block."""
    chosen = (*SETTINGS, f"server.url={url}", *settings)
    process = subprocess.Popen(
        (sys.executable, str(CHILD), *chosen), env={**os.environ, **environ},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        made = Hand(process)
        made.ready()
        yield made
    finally:
        process.terminate()
        process.wait(5)
