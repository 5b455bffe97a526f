"""The agent must not hear itself: the loudspeaker is looped into the microphone at −10 dB."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from analysis import onset
from rig import Call, call

from device_agent.bench.virtual_audio import VirtualCards

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
