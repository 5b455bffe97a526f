"""The agent must not hear itself: the loudspeaker is looped into the microphone at −10 dB."""

from __future__ import annotations

import array
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rig import Call, call, pcm

from device_agent.bench.virtual_audio import VirtualCards
from device_agent.simulator.voice import flite
from tests.analysis import dbfs, onset

LONG = "I can talk for quite a while about the weather in the mountains, about ships and about the sea."
ALWAYS_ON = "activation.modes=always-on"
TALKS_BY_ITSELF = ("--first-message", LONG)


def pactl(*words: str) -> str:
    return subprocess.run(("pactl", *words), check=True, capture_output=True, text=True).stdout


@contextmanager
def loop(cards: VirtualCards) -> Iterator[None]:
    """A room in which the microphone hears the loudspeaker, 10 dB weaker and 20 ms later."""
    module = pactl(
        "load-module", "module-loopback", f"source={cards.speaker}.monitor", f"sink={cards.microphone}",
        "latency_msec=20", "adjust_time=0",
    ).strip()  # fmt: skip
    try:
        sinks = pactl("list", "short", "sink-inputs").splitlines()
        mine = next(line.split()[0] for line in sinks if "module-loopback.c" in line)
        pactl("set-sink-input-volume", mine, "-10dB")
        yield
    finally:
        pactl("unload-module", module)


def turns(run: Call, seconds: float) -> int:
    """How often the server took a turn from the user while the agent talked for `seconds`, with short pauses."""
    run.ready()
    until, spoken = seconds, 0.0
    while spoken < until:
        began = run.audible(run.simulator.order("say", text=LONG))
        spoken += run.silent(0.6) - began
    assert onset(run.room.samples()) is not None  # the microphone's card did hear it
    return len(run.simulator.of_kind("turn"))


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_the_agents_own_voice_is_no_turn(cards: VirtualCards, seconds: float) -> None:
    """With the default echo mode the server hears no turn while the agent talks."""
    with loop(cards), call(cards, ALWAYS_ON) as run:
        assert turns(run, seconds) == 0


def test_without_half_duplex_the_agent_answers_itself(cards: VirtualCards) -> None:
    """Sabotage: the same room with `audio.echo = "off"` gives turns."""
    with loop(cards), call(cards, ALWAYS_ON, "audio.echo=off", options=TALKS_BY_ITSELF) as run:
        run.ready()
        assert run.simulator.wait("turn", timeout=20)


def levels(run: Call) -> tuple[float, float, float]:
    """The agent's tone at the loudspeaker, in dBFS: before a visitor speaks over it, while, and 5 s after.

    The server keeps its interruption to itself, so that only the device changes the level.
    """
    run.ready()
    began = run.audible(run.simulator.order("audio", ms=16_000))
    run.pause(4.0)  # the canceller has learnt the room
    run.microphone.say(pcm(array.array("h", flite("Excuse me, I would like to ask something else."))))
    spoken = time.monotonic()
    run.pause(8.0)
    pieces = [
        dbfs(run.speaker.samples(at, at + 0.1)) for at in (spoken + 0.1 * n for n in range(20))
    ]  # the visitor speaks for 2.5 s
    before = dbfs(run.speaker.samples(began + 3.0, began + 3.5))
    after = dbfs(run.speaker.samples(spoken + 6.5, spoken + 7.0))
    lowest = min(pieces)
    print(f"before {before:.1f} dBFS, lowest {lowest:.1f} after {pieces.index(lowest) / 10:.1f} s, later {after:.1f}")
    return before, lowest, after


OVER_A_TONE = ("--first-message", "", "--pace", "at-once", "--without", "interruption")


def test_the_agent_ducks_when_somebody_speaks_over_it(cards: VirtualCards) -> None:
    """Its own echo leaves it alone; a visitor makes it 18 dB softer by himself, and it comes back smoothly."""
    with loop(cards), call(cards, ALWAYS_ON, options=OVER_A_TONE) as run:
        before, during, after = levels(run)
        assert 12 < before - during < 24
        assert abs(after - before) < 3


def test_without_a_canceller_it_does_not_duck(cards: VirtualCards) -> None:
    """Sabotage: half-duplex hears nobody while the agent speaks; the same measurement sees one level throughout."""
    with loop(cards), call(cards, ALWAYS_ON, "audio.echo=half-duplex", options=OVER_A_TONE) as run:
        before, during, _ = levels(run)
        assert abs(before - during) < 3
