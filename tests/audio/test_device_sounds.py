"""The device's own sounds on the running product: a press is answered within 100 ms, in every state, at the volume."""

from __future__ import annotations

import array
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import SILENT_AGENT, call, read
from steady import Metronome

from device_agent.audio.clips import SOUNDS
from device_agent.bench.demo import Simulator
from device_agent.bench.systemd import Systemd
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.protocol import ulaw
from tests.analysis import RATE, WIRE_RATE, Samples, dbfs, find, likeness, onset, resampled
from tests.hand import Hand, hand
from tests.patience import until

EARCONS_ON = ("sounds.earcons=true", "activation.modes=toggle")
NOBODY = "ws://127.0.0.1:9"  # nobody listens there
REACH_S = 1.5
BIAS_S = 0.05  # the recording may begin so much earlier than its first sample's arrival says


class Ears:
    """What the loudspeaker played: the witness."""

    def __init__(self, speaker: Recorder) -> None:
        self.speaker = speaker

    def hear(self, name: str, since: float) -> tuple[float, float]:
        """When, from `since` on, this earcon became audible, and how much louder than it was made (dB)."""
        wanted = earcon(name)[: RATE * 3 // 4]  # of a sentence the beginning: a machine may tear a hole into the rest
        since -= BIAS_S
        reach_s = REACH_S + len(wanted) / RATE

        def look() -> tuple[float, float] | None:
            heard = self.speaker.samples(since, since + reach_s)
            found = place(heard, wanted)
            if found is None:
                return None
            piece = heard[found : found + len(wanted)]
            return since + found / RATE, dbfs(piece) - dbfs(wanted)

        return until(look, reach_s + 1.0, f"{name} sounds")

    def first(self, since: float) -> float:
        """When, from `since` on, anything sounded."""
        since -= BIAS_S
        at = onset(self.speaker.samples(since))
        return float("inf") if at is None else since + at / RATE

    def nothing(self, since: float, seconds: float) -> bool:
        return dbfs(self.speaker.samples(since, since + seconds)) < -80


def earcon(name: str) -> Samples:
    return resampled(array.array("h", ulaw.decode((SOUNDS / f"{name}.ulaw").read_bytes())), 16_000, RATE)


def place(heard: Samples, wanted: Samples) -> int | None:
    """Where the sound begins, right to the sample; None if it is not there (yet)."""
    found = find(heard, wanted, 0, len(heard) - len(wanted))
    return found if found is not None and likeness(heard, found, wanted) > 0.9 else None


@pytest.fixture
def pressed(cards: VirtualCards, tmp_path: Path) -> Iterator[tuple[Hand, Ears, Simulator, Metronome]]:
    """A device with a button and earcons, connected to nothing yet."""
    with (
        Recorder(cards) as speaker,
        Microphone(cards) as _,
        Metronome() as metronome,
        Simulator(tmp_path / "heard.wav", *SILENT_AGENT) as simulator,
        hand(simulator.url, cards.environ, *EARCONS_ON) as device,
    ):
        yield device, Ears(speaker), simulator, metronome


def test_a_press_is_answered_by_a_sound_at_once(pressed: tuple[Hand, Ears, Simulator, Metronome]) -> None:
    """From the pin's edge to the loudspeaker: a closed stream says "listening", an open one "done". (The aim is 100 ms;
    the bound leaves room for this machine.) Without a press nothing sounds."""
    device, ears, simulator, _ = pressed
    times = []
    for _ in range(3):
        down = device.move("press")
        times.append(ears.hear("listening", down)[0] - down)
        device.move("release")
        device.shows("listening", down)
        down = device.move("press")
        times.append(ears.hear("done", down)[0] - down)
        device.move("release")
        device.shows("idle", down)
    print("press to sound, ms:", *(round(1000 * t) for t in times))
    assert statistics.median(times) < 0.15
    assert simulator.of_kind("violation") == []
    until(lambda: time.monotonic() > down + 1.6, 3, "a while")
    assert ears.nothing(down + 1.0, 0.5)


def test_the_agent_never_hears_a_sound_of_ours_that_the_microphone_does_not(
    pressed: tuple[Hand, Ears, Simulator, Metronome],
) -> None:
    """What we play goes to the loudspeaker only: the server hears silence all the time."""
    device, ears, simulator, _ = pressed
    down = device.move("press")
    ears.hear("listening", down)
    device.move("release")
    device.shows("listening", down)
    until(lambda: len(read(simulator.record)) > WIRE_RATE // 2, 5, "the server hears something")
    assert not any(read(simulator.record))


def test_the_volume_is_that_of_the_curve_and_0_is_silent(pressed: tuple[Hand, Ears, Simulator, Metronome]) -> None:
    """At 50 everything is 18 dB softer, at 0 a press is answered by the light alone."""
    device, ears, _, _ = pressed
    device.move("volume 50")
    down = device.move("press")
    _, gain = ears.hear("listening", down)
    assert abs(gain + 18) < 1
    device.move("release")
    device.move("volume 0")
    down = device.move("press")
    device.shows("idle", down)
    assert ears.nothing(down, 0.7)


def test_a_press_is_answered_without_a_network(cards: VirtualCards) -> None:
    """An address where nobody listens: the press is answered, then the failure is heard, then the next press."""
    with Recorder(cards) as speaker, Microphone(cards) as _, hand(NOBODY, cards.environ, *EARCONS_ON) as device:
        ears = Ears(speaker)
        down = device.move("press")
        lost, _ = ears.hear("no-network", down)
        device.move("release")
        first = ears.first(down)
        print(f"press to sound, ms: {1000 * (first - down):.0f}, to no-network: {1000 * (lost - down):.0f}")
        assert first - down < 0.3
        until(lambda: time.monotonic() > lost + 1, 3, "a while")
        down = device.move("press")
        again, _ = ears.hear("no-network", down)
        device.move("release")
        print(f"press to sound, ms: {1000 * (again - down):.0f}")
        assert again - down < 0.3


def test_what_is_wrong_is_said_without_a_network(cards: VirtualCards) -> None:
    """In the language that is configured, right behind its earcon (a busy machine may tear a hole between them)."""
    settings = (*EARCONS_ON, "sounds.speech=true", "sounds.language=de")
    with Recorder(cards) as speaker, Microphone(cards) as _, hand(NOBODY, cards.environ, *settings) as device:
        ears = Ears(speaker)
        down = device.move("press")
        device.move("release")
        told, _ = ears.hear("no-network", down)
        said, _ = ears.hear("de/no-network", down)
        assert abs(said - told - len(earcon("no-network")) / RATE) < 0.3


def test_a_mute_is_heard_while_the_streams_are_closed(pressed: tuple[Hand, Ears, Simulator, Metronome]) -> None:
    """The loudspeaker is opened for the earcon and closed after it; a press says it again."""
    device, ears, _, _ = pressed
    muted = device.move("mute")
    ears.hear("muted", muted)
    until(lambda: ears.nothing(time.monotonic() - 0.5, 0.4), 3, "silence")
    down = device.move("press")
    ears.hear("muted", down)


@pytest.mark.parametrize("speech", ["true", "false"])
def test_a_service_without_any_configuration_says_so(cards: VirtualCards, tmp_path: Path, speech: str) -> None:
    """Nothing to run on: in the language that can be made out of it the loudspeaker says that the settings are wrong.

    Sabotage: where speech is off only the earcon sounds.
    """
    settings = ("audio.volumee=3", "sounds.earcons=true", f"sounds.speech={speech}", "sounds.language=de")
    with (
        Systemd(tmp_path / "notify") as systemd,
        call(cards, *settings, environ=systemd.environ, arguments=()) as run,
    ):
        ears = Ears(run.speaker)
        systemd.hears("STATUS=config-error: --set: unknown setting 'audio.volumee'")
        assert systemd.words[0] == "READY=1"
        told, _ = ears.hear("error", run.audible(0.0))
        if speech == "true":
            ears.hear("de/configuration", told)
        else:
            until(lambda: time.monotonic() > told + 1.5, 3, "a while")
            assert ears.nothing(told + 0.8, 0.5)
