"""The wake word on the running product: what was said from the word on arrives at the server, whole and in order."""

from __future__ import annotations

import array
import time

from rig import SILENT_AGENT, Call, call, displaced, pcm

from device_agent.bench.virtual_audio import VirtualCards
from device_agent.simulator.voice import flite
from tests.analysis import RATE, WIRE_RATE, find, onset, resampled
from tests.patience import until

WAITS = ("activation.modes=wake-word", "audio.echo=off")


def say(run: Call, text: str) -> float:
    """Say it, to its end; the time before it began."""
    began = time.monotonic()
    run.microphone.say(pcm(array.array("h", flite(text, "rms"))))
    until(lambda: onset(run.room.samples(began)) is not None, 5, "it is said")
    until(lambda: onset(run.room.samples(time.monotonic() - 1.0)) is None, 10, "it was said")
    return began


def test_the_word_and_the_question_behind_it_arrive_whole(cards: VirtualCards) -> None:
    """ "Okay nabu, what time is it?" opens the conversation, and is there from its first sound to its last, though the
    connection took 300 ms. Other speech opens nothing.

    Sabotage: the same comparison with 100 ms cut out of what arrived is red.
    """
    with call(cards, *WAITS, options=(*SILENT_AGENT, "--latency", "300", "--end-of-turn-ms", "60000")) as run:
        run.says("microphone: ")
        say(run, "please turn on the lamp")
        assert not run.simulator.of_kind("connected")
        began = say(run, "okay nabu, what time is it?")
        run.simulator.wait("connected", timeout=2)
        run.pause(1.0)
        room = run.room.samples(began)
        first = onset(room)
        assert first is not None
        said = resampled(room[first : first + 5 * RATE // 2], RATE, WIRE_RATE)
        received = run.received()
        start = find(received, said[: WIRE_RATE // 2], 0, 3 * WIRE_RATE)
        assert start is not None, "the word itself is missing"
        assert len(displaced(received, said, WIRE_RATE, around=start)) <= run.metronome.stalls
        cut = start + WIRE_RATE
        assert displaced(received[:cut] + received[cut + WIRE_RATE // 10 :], said, WIRE_RATE, around=start)
        assert run.violations() == []
