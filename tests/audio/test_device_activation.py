"""Each way into a conversation, on the running product: what is said at that moment is at the server, whole."""

from __future__ import annotations

import array
import time
from pathlib import Path

import pytest
from rig import SILENT_AGENT, displaced, pcm, read
from steady import Metronome

from device_agent.bench.demo import Simulator
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.simulator.voice import flite
from tests.analysis import RATE, WIRE_RATE, find, onset, resampled
from tests.hand import hand
from tests.patience import until

SETTINGS = ("sounds.earcons=false", "panel.presence_pin=22", "session.idle_close_s=3")
SENTENCE = "Could you please tell me what time it is?"
DEAF_S = 0.06  # a microphone that was closed runs so long after the press
BY_VOICE = ("voice", "always-on")


@pytest.mark.parametrize("mode", [*BY_VOICE, "toggle", "one-shot", "presence"])
def test_no_word_is_lost(cards: VirtualCards, tmp_path: Path, mode: str) -> None:
    """Whoever opens it by speaking is heard from the first sound; who presses, or comes near, from 60 ms after it.

    The connection takes 300 ms. Sabotage: the same comparison with 100 ms cut out of what arrived is red.
    """
    modes = "activation.modes=one-shot,toggle" if mode == "one-shot" else f"activation.modes={mode}"
    heard, latency = tmp_path / "heard.wav", ("--latency", "300", "--end-of-turn-ms", "60000")
    with (
        Recorder(cards) as _,
        Recorder(cards, cards.microphone) as room,
        Microphone(cards) as microphone,
        Metronome() as metronome,
        Simulator(heard, *SILENT_AGENT, *latency) as simulator,
        hand(simulator.url, cards.environ, *SETTINGS, modes) as device,
    ):
        if mode == "always-on":  # one that was idle: it opens again when somebody speaks
            simulator.wait("closed")
        if mode in BY_VOICE:
            device.hears()
        before, said_at = len(simulator.of_kind("connected")), time.monotonic()
        microphone.say(pcm(array.array("h", flite(SENTENCE, "rms"))))
        begin = until(lambda: onset(room.samples(said_at)), 5, "it is said")
        first = begin
        if mode not in BY_VOICE:
            opened = device.move("come" if mode == "presence" else "press") + DEAF_S
            first = max(begin, round((opened - said_at) * RATE))
        simulator.wait("connected", since=said_at)
        until(lambda: onset(room.samples(time.monotonic() - 1.0)) is None, 10, "it was said")
        said = resampled(room.samples(said_at)[first : begin + 2 * RATE], RATE, WIRE_RATE)
        until(lambda: find(read(heard), said[-WIRE_RATE // 2 :], 0, len(read(heard))), 5, "its end arrives")
        received = read(heard)
        start = find(received, said[: WIRE_RATE // 4], 0, len(received))
        assert start is not None, "its beginning is missing"
        assert len(displaced(received, said, WIRE_RATE, around=start)) <= metronome.stalls
        cut = start + WIRE_RATE
        assert displaced(received[:cut] + received[cut + WIRE_RATE // 10 :], said, WIRE_RATE, around=start)
        assert len(simulator.of_kind("connected")) == before + 1
        assert simulator.of_kind("violation") == []
