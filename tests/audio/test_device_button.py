"""Push-to-talk and toggle on the running product, with a button made of software and real sound cards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig import SILENT_AGENT, displaced, pcm, read
from steady import Metronome

from device_agent.bench.demo import Simulator
from device_agent.bench.virtual_audio import RATE, Microphone, Recorder, VirtualCards
from device_agent.errors import DeviceAgentError
from tests.analysis import WIRE_RATE, noise, onset, resampled
from tests.hand import Hand, hand
from tests.patience import until

SILENT = "sounds.earcons=false"


def test_push_to_talk_keeps_the_words_spoken_at_once(cards: VirtualCards, tmp_path: Path) -> None:
    """A press connects and lights up; what is said from 60 ms after it on is at the server, whole and in order.

    Sabotage: the same comparison with the first 100 ms cut off is red.
    """
    words = noise(2.0, WIRE_RATE)
    heard = tmp_path / "heard.wav"
    with (
        Recorder(cards) as _,
        Recorder(cards, cards.microphone) as room,
        Microphone(cards) as microphone,
        Metronome() as metronome,
        Simulator(heard, *SILENT_AGENT, "--latency", "300", "--end-of-turn-ms", "60000") as simulator,
        hand(simulator.url, cards.environ, SILENT, "activation.modes=push-to-talk") as device,
    ):
        assert not simulator.of_kind("connected")
        microphone.say(pcm(words))
        begin = until(lambda: onset(room.samples()), 8, "the words sound")
        pressed = device.move("press")
        assert device.shows("connecting", pressed) - pressed < 0.1
        assert simulator.wait("connected", since=pressed)["t"] - pressed < 0.5
        device.shows("listening", pressed)
        until(lambda: len(read(heard)) > 1.5 * WIRE_RATE, 5, "the words arrive")
        device.move("release")
        late = max(0, round((pressed + 0.06 - room.origin) * RATE) - begin)  # said before anyone could hear
        said = resampled(room.samples()[begin + late : begin + late + RATE], RATE, WIRE_RATE)
        received = read(heard)
        assert len(displaced(received, said, WIRE_RATE, around=WIRE_RATE // 10)) <= metronome.stalls
        assert displaced(received[WIRE_RATE // 2 :], said, WIRE_RATE, around=0)
        assert simulator.of_kind("violation") == []


def test_toggle_opens_and_closes(cards: VirtualCards, tmp_path: Path) -> None:
    """One press opens a conversation, the next closes it with a proper goodbye; in between the light says listening.

    Sabotage: without the second press nothing is closed.
    """
    with (
        Recorder(cards) as _,
        Microphone(cards) as _,
        Simulator(tmp_path / "heard.wav", *SILENT_AGENT) as simulator,
        hand(simulator.url, cards.environ, SILENT, "activation.modes=toggle") as device,
    ):
        pressed = device.move("press")
        device.shows("listening", pressed)
        device.move("release")
        simulator.wait("audio")
        with pytest.raises(DeviceAgentError, match="did not see closed"):
            simulator.wait("closed", timeout=1.0)
        pressed = device.move("press")
        assert simulator.wait("closed", since=pressed)["code"] == 1000
        device.shows("idle", pressed)
        device.move("release")
        assert len(simulator.of_kind("connected")) == 1


def test_the_light_follows_what_is_heard_and_what_is_played(cards: VirtualCards, tmp_path: Path) -> None:
    """In a conversation the LED is the brighter the louder somebody speaks, then the louder the agent sounds.

    Sabotage: a configured look that is steady does not follow.
    """
    following = brightnesses(cards, tmp_path / "level", "")
    assert following.heard[0] > following.heard[1] + 0.1, following
    assert following.played[0] > following.played[1] + 0.1, following
    steady = brightnesses(cards, tmp_path / "steady", 'lights.patterns={listening="steady",speaking="steady"}')
    assert abs(steady.heard[0] - steady.heard[1]) < 0.1 and abs(steady.played[0] - steady.played[1]) < 0.1, steady


@dataclass
class Brightness:
    """Of the LED, while something was loud and while it was soft."""

    heard: tuple[float, float]
    played: tuple[float, float]


def brightnesses(cards: VirtualCards, home: Path, look: str) -> Brightness:
    home.mkdir()
    settings = filter(None, (SILENT, "activation.modes=toggle", "lights.kind=pwm", look))
    with (
        Recorder(cards) as speaker,
        Recorder(cards, cards.microphone) as room,
        Microphone(cards) as microphone,
        Simulator(home / "heard.wav", *SILENT_AGENT, "--end-of-turn-ms", "60000") as simulator,
        hand(simulator.url, cards.environ, *settings) as device,
    ):
        device.shows("listening", device.move("press"))
        device.move("release")
        heard = tuple(spoken(device, microphone, room, level) for level in (-15.0, -45.0))
        simulator.order("audio", ms=6000)
        loud = shone(device, sounds(speaker, time.monotonic()))
        soft = shone(device, device.move("volume 30"), settle=2.0)  # the volume itself has been shown then
        return Brightness((heard[0], heard[1]), (loud, soft))


def spoken(device: Hand, microphone: Microphone, room: Recorder, dbfs: float) -> float:
    """The LED's brightness while it hears that."""
    said = time.monotonic()
    microphone.say(pcm(noise(1.5, WIRE_RATE, dbfs=dbfs)))
    found = shone(device, sounds(room, said, limit=40))
    until(lambda: onset(room.samples(since=time.monotonic() - 0.3)) is None, 5, "silence again")
    return found


def sounds(card: Recorder, since: float, limit: int = 100) -> float:
    """When it began to."""
    began = until(lambda: onset(card.samples(since=since), limit) is not None, 5, "sound")
    assert began
    return time.monotonic()


def shone(device: Hand, began: float, settle: float = 0.4, span: float = 0.8) -> float:
    """How bright the LED was, once it had time to follow."""
    until(lambda: time.monotonic() > began + settle + span, 5, "enough seen")
    return device.brightness(began + settle, began + settle + span)
