"""The self check on the running product: the loudspeaker looped into the microphone is heard, and nothing else is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from rig import SILENT_AGENT, call

from device_agent.bench.virtual_audio import VirtualCards
from tests.analysis import RATE, noise

CHECKS = ("activation.modes=toggle", "panel.backend=mock", "panel.button_pin=17", "audio.self_check=true")


@contextmanager
def looped(cards: VirtualCards) -> Iterator[None]:
    """The loudspeaker stands beside the microphone."""
    environ = {**os.environ, **cards.environ}
    load = ("pactl", "load-module", "module-loopback", f"source={cards.speaker}.monitor", f"sink={cards.microphone}",
            "latency_msec=40")  # fmt: skip
    module = subprocess.run(load, env=environ, capture_output=True, text=True, check=True).stdout.strip()
    yield
    subprocess.run(("pactl", "unload-module", module), env=environ, check=True)


@pytest.mark.parametrize(
    ("loop", "room_dbfs", "result", "state"),
    [
        (True, -50.0, "heard=True silent=False", ""),
        (False, -50.0, "heard=False silent=False", "state.loudspeaker_check"),
        (False, None, "heard=False silent=True", "state.microphone_check"),
    ],
    ids=("looped", "not looped", "dead microphone"),
)
def test_the_device_hears_itself_or_says_so(
    cards: VirtualCards, loop: bool, room_dbfs: float | None, result: str, state: str
) -> None:
    """A loudspeaker that reaches the microphone is all right; one that does not, and a dead microphone, are states."""
    with (
        looped(cards) if loop else nullcontext(),
        call(cards, *CHECKS, options=SILENT_AGENT, arguments=()) as run,
    ):
        if room_dbfs is not None:
            run.microphone.say(noise(15.0, RATE, dbfs=room_dbfs).tobytes())
        run.says("self-check.done", timeout=20)
        assert any(result in line for line in run.lines), run.lines[-5:]
        run.pause(0.3)
        wrong = [line for line in run.lines if "_check from=" in line]
        assert [state in line for line in wrong] == ([True] if state else []), wrong
        assert not run.simulator.of_kind("connected")
