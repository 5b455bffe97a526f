"""The connection's bad days: slow to open, lost, stalled, hostile. The server and the loudspeaker tell."""

from __future__ import annotations

import pytest
from analysis import frequency, noise, onset
from rig import SILENT_AGENT, TALK, WIRE_RATE, call, displaced, pcm, resampled

from device_agent.bench.virtual_audio import RATE, VirtualCards
from device_agent.simulator.faults import MALFORMED


def test_words_spoken_while_connecting_come_first_and_whole(cards: VirtualCards) -> None:
    """Queued for 2 s, the device keeps what it hears, sends nothing, and then all of it in order, live audio behind.

    Sabotage: the same comparison with one frame of 20 ms left out, and with one that is 40 ms late, is red.
    """
    words = noise(3.5, WIRE_RATE)
    with call(cards, *TALK, options=(*SILENT_AGENT, "--queue-seconds", "2.5")) as run:
        run.says("microphone: ", timeout=20)
        spoken = len(run.room.samples())
        run.microphone.say(pcm(words))
        admitted = run.simulator.wait("sent", type="queue_status", status="admitted")["t"]
        run.pause(3.5)
        assert run.violations() == []
        assert run.simulator.of_kind("audio")[0]["t"] >= admitted
        heard, said = run.received(), resampled(run.room.samples()[spoken:], RATE, WIRE_RATE)
        first, begin = onset(heard), onset(said)
        assert first is not None and begin is not None
        assert run.excused(displaced(heard, said, WIRE_RATE, around=first - begin))
        cut = first + WIRE_RATE
        assert displaced(heard[:cut] + heard[cut + 320 :], said, WIRE_RATE, around=first - begin)
        assert displaced(heard[:cut] + noise(0.04, WIRE_RATE) + heard[cut:], said, WIRE_RATE, around=first - begin)


def test_a_connection_lost_in_a_reply_is_taken_up_again(cards: VirtualCards) -> None:
    """Cut without a close frame: the old reply falls silent, and within 2 s a second conversation is open."""
    with call(cards, *TALK, options=("--first-message", "", "--pace", "at-once")) as run:
        run.ready()
        run.audible(run.simulator.order("audio", ms=6000))
        run.pause(0.5)
        dropped = run.simulator.order("drop")
        again = run.simulator.wait("sent", since=dropped, type="conversation_initiation_metadata", connection=2)
        print(f"in conversation again after {again['t'] - dropped:.2f} s")
        assert again["t"] - dropped < 2.0
        run.simulator.wait("audio", connection=2)
        run.pause(0.5)
        assert run.sounded_last(dropped) - dropped < 0.3
        asked = run.simulator.order("audio", ms=500, hz=1000)
        began = run.audible(asked)
        run.pause(0.6)
        assert abs(frequency(run.speaker.samples(began + 0.05, began + 0.4)) - 1000) < 5


@pytest.mark.slow
def test_a_server_that_stalls_gets_no_stale_audio(cards: VirtualCards) -> None:
    """8 s without reading: the connection survives, at most 1 s of old audio arrives, pings are answered again."""
    with call(cards, *TALK, options=(*SILENT_AGENT, "--receive-buffer", "8192")) as run:
        run.ready()
        run.pause(1.0)
        run.simulator.order("stall", seconds=8)
        resumed = run.simulator.wait("resumed", timeout=15)["t"]
        run.pause(4.0)
        chunks = run.simulator.of_kind("audio", since=resumed)
        burst = sum(event["n"] for event in chunks if event["t"] < resumed + 0.3) / WIRE_RATE
        print(f"in the 0.3 s after the stall {burst:.2f} s of audio came")
        assert burst < 1.0 + 0.3
        assert sum(event["n"] for event in chunks) / WIRE_RATE > 3.5
        assert run.simulator.of_kind("pong", since=resumed)
        assert len(run.simulator.of_kind("connected")) == 1


def test_malformed_messages_are_survived(cards: VirtualCards) -> None:
    """Each of the simulator's hostile messages, 20 MB of text among them, is skipped, and the next reply is heard."""
    options = (*SILENT_AGENT, "--malformed", "all", "--pace", "at-once")
    with call(cards, *TALK, options=options) as run:
        run.ready()
        for number, name in enumerate(MALFORMED):
            asked = run.simulator.order("audio", ms=120, hz=1000)
            run.simulator.wait("sent", since=asked, type="malformed", name=name)
            began = run.audible(asked)
            run.silent(0.15)
            assert run.sounded_last(began) - began > 0.1, f"after {name}"
            assert len(run.simulator.of_kind("reply")) == number + 1
        assert len(run.simulator.of_kind("connected")) == 1
        assert run.violations() == []
