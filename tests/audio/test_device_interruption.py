"""Interruption of the whole product: what the loudspeaker plays after the server said so."""

from __future__ import annotations

import statistics

from rig import SOUND, TALK, Call, call

from device_agent.bench.virtual_audio import VirtualCards
from tests.analysis import frequency

GENEROUS_S = 0.15  # the figure is 80 ms; this machine is shared and noisy
AT_ONCE = ("--first-message", "", "--pace", "at-once")


def interrupt(run: Call, chunk_ms: int) -> float:
    """Let 4 s of tone begin, interrupt it; seconds from the server's message to the last sample of it."""
    run.audible(run.simulator.order("audio", ms=4000, chunk_ms=chunk_ms))
    run.pause(0.7)
    asked = run.simulator.order("interrupt")
    run.pause(1.0)
    sent = run.simulator.of_kind("sent", since=asked, type="interruption")
    return run.sounded_last(asked) - (sent[0]["t"] if sent else asked)


def test_an_interruption_silences_the_loudspeaker(cards: VirtualCards) -> None:
    """However long the audio events are: silent within 80 ms, nothing of the old reply later, and the next is heard."""
    with call(cards, *TALK, options=AT_ONCE) as run:
        run.ready()
        took = [interrupt(run, chunk_ms) for chunk_ms in (100, 250, 1000, 4000)]
        print(f"interruption → silent: {[round(1000 * s) for s in took]} ms")
        assert statistics.median(took) < GENEROUS_S
        assert max(took) < 2 * GENEROUS_S
        began = run.audible(run.simulator.order("audio", ms=1000, hz=1000))
        run.pause(1.2)
        assert abs(frequency(run.speaker.samples(began + 0.05, began + 0.9)) - 1000) < 5
        assert run.violations() == []


def test_without_the_message_the_reply_goes_on(cards: VirtualCards) -> None:
    """Sabotage: a server that keeps its interruption to itself is seen by the same measurement."""
    with call(cards, *TALK, options=(*AT_ONCE, "--without", "interruption")) as run:
        run.ready()
        assert interrupt(run, 1000) > 2 * GENEROUS_S


def shortly_lost(cards: VirtualCards, *meanwhile: str) -> float:
    """Seconds of a tone of 4 s that sound although the loudspeaker stands still for 1 s within it."""
    with call(cards, *TALK, options=AT_ONCE) as run:
        run.ready()
        began = run.audible(run.simulator.order("audio", ms=4000, chunk_ms=250))
        run.pause(1.0)
        cards.stand_still(True)
        run.says("no loudspeaker")
        for order in meanwhile:
            run.simulator.order(order)
        cards.stand_still(False)
        run.pause(5.0)
        heard = run.speaker.samples(began)
        assert run.violations() == []
        return sum(max(map(abs, heard[at : at + 480])) > SOUND for at in range(0, len(heard), 480)) / 100


def test_a_reply_goes_on_when_the_loudspeaker_is_back(cards: VirtualCards) -> None:
    """What the card held is lost with it, and no more."""
    assert 3.5 < shortly_lost(cards) < 4.1


def test_an_interruption_of_a_lost_loudspeaker_is_heard(cards: VirtualCards) -> None:
    """Sabotage of the above, and a rule of its own: what is left of an interrupted reply never sounds."""
    assert shortly_lost(cards, "interrupt") < 2.5
