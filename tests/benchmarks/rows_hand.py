"""What a press is answered with, and how soon: light, sound, an attempt to connect. The pins are gpiozero's mock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from device_agent.bench.virtual_audio import Recorder

from .bed import ROOT, Bed, Client
from .measure import Measured
from .server import BenchError, Server, until
from .signals import CARD_RATE, first_audible

CHILD = ROOT / "tests" / "audio" / "button_device.py"
PRESSES = 7
SETTINGS = ("agent.id=bench", "audio.echo=off", "activation.modes=toggle", "panel.backend=mock", "panel.button_pin=17",
            "panel.led_pin=27", "sounds.speech=false")  # fmt: skip
NOBODY = "ws://127.0.0.1:9"


class Hand:
    """The device's button, and the level of its LED's pin."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[list[str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def move(self, what: str) -> float:
        """`press` or `release`; when."""
        before = len(self._lines)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._said(what, before, "the button moves")

    def lit(self, since: float) -> float:
        """When the LED's pin first changed after that."""
        return self._said("pin", 0, "the LED's pin changes", since)

    def _said(self, word: str, first: int, what: str, since: float = 0.0) -> float:
        def look() -> float | None:
            found = (float(t) for said, *_, t in self._lines[first:] if said == word and float(t) >= since)
            return next(found, None)

        return float(until(look, 5.0, f"not seen: {what}"))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.split())


@contextmanager
def hand(bed: Bed, url: str) -> Iterator[Hand]:
    process = subprocess.Popen(
        (sys.executable, str(CHILD), *SETTINGS, f"server.url={url}"), env={**os.environ, **bed.cards.environ},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        made = Hand(process)
        made._said("ready", 0, "the device is ready")
        yield made
    finally:
        process.terminate()
        process.wait(5)


def press(bed: Bed, client: Client) -> Measured:
    """Ours only. From idle with all streams closed; and where no server answers."""
    if not client.ours:
        return {}
    found: Measured = {"light": [], "earcon": [], "attempt": [], "light offline": [], "earcon offline": []}
    pause = threading.Event()
    with Recorder(bed.cards) as speaker:
        with Server("--first-message", "") as server, hand(bed, server.url) as button:
            for _ in range(PRESSES):
                pressed = _press(button, speaker, found, "")
                connected = server.wait("connected", since=pressed)
                found["attempt"].append(1000 * (connected["t"] - pressed))
                button.move("release")
                pause.wait(1.0)
                again = button.move("press")
                button.move("release")
                server.wait("closed", since=again)
                pause.wait(1.5)
        with hand(bed, NOBODY) as button:
            for _ in range(PRESSES):
                _press(button, speaker, found, " offline")
                button.move("release")
                pause.wait(3.0)
    return found


def _press(button: Hand, speaker: Recorder, found: Measured, where: str) -> float:
    # What still sounds from the press before is no answer to this one.
    until(lambda: first_audible(speaker.samples(since=monotonic() - 0.4)) is None, 10.0, "silence before a press")
    pressed = button.move("press")
    found[f"light{where}"].append(1000 * (button.lit(pressed) - pressed))
    deadline = monotonic() + 3.0
    while (at := first_audible(heard := speaker.samples(since=pressed))) is None:
        if monotonic() > deadline:
            raise BenchError(f"no sound within 3 s of a press ({len(heard)} samples)")
        threading.Event().wait(0.02)
    found[f"earcon{where}"].append(1000 * at / CARD_RATE)
    return pressed
