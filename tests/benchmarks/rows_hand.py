"""What a press is answered with, and how soon: light, sound, an attempt to connect. The pins are gpiozero's mock."""

from __future__ import annotations

import threading
from time import monotonic

from device_agent.bench.virtual_audio import RATE, Recorder
from device_agent.errors import DeviceAgentError
from tests.analysis import AUDIBLE, onset
from tests.hand import Hand, hand
from tests.patience import until

from .bed import Bed, Client
from .measure import Measured
from .server import Server

PRESSES = 7
TOGGLE = "activation.modes=toggle"
NOBODY = "ws://127.0.0.1:9"


def press(bed: Bed, client: Client) -> Measured:
    """Ours only. From idle with all streams closed; and where no server answers."""
    if not client.ours:
        return {}
    found: Measured = {"light": [], "earcon": [], "attempt": [], "light offline": [], "earcon offline": []}
    pause = threading.Event()
    with Recorder(bed.cards) as speaker:
        with (
            Server("--first-message", "") as server,
            hand(server.url, bed.cards.environ, TOGGLE) as button,
        ):
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
        with hand(NOBODY, bed.cards.environ, TOGGLE) as button:
            for _ in range(PRESSES):
                _press(button, speaker, found, " offline")
                button.move("release")
                pause.wait(3.0)
    return found


def _press(button: Hand, speaker: Recorder, found: Measured, where: str) -> float:
    # What still sounds from the press before is no answer to this one.
    until(lambda: onset(speaker.samples(since=monotonic() - 0.4), AUDIBLE) is None, 10.0, "silence before a press")
    pressed = button.move("press")
    found[f"light{where}"].append(1000 * (button.lit(pressed) - pressed))
    deadline = monotonic() + 3.0
    while (at := onset(heard := speaker.samples(since=pressed), AUDIBLE)) is None:
        if monotonic() > deadline:
            raise DeviceAgentError(f"no sound within 3 s of a press ({len(heard)} samples)")
        threading.Event().wait(0.02)
    found[f"earcon{where}"].append(1000 * at / RATE)
    return pressed
