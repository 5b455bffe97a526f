"""The device's own sounds: read once, mixed into what plays, replaced without a click, never too late."""

from __future__ import annotations

import array
import time
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import FakeClock

from device_agent.audio.clips import SOUNDS, Shelf
from device_agent.audio.mixer import Mixer
from device_agent.bench.earcons import EARCONS, synthesise, write
from device_agent.core.commands import PlayClip
from device_agent.core.sounds import RULES
from device_agent.protocol import ulaw

PIECE = 160


class Bench:
    """A mixer with two earcons (the first lasts 100 ms) and a word in two languages; all of constant value."""

    def __init__(self, directory: Path, rate: int = 16_000, level_db: float = 0.0) -> None:
        for name, value, ms in (("one", 1000, 100), ("two", 3000, 60), ("en/word", 500, 40), ("de/word", 700, 40)):
            file = directory / f"{name}.ulaw"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(ulaw.encode(array.array("h", [value] * (16 * ms)).tobytes()))
        self.clock = FakeClock()
        self.ended: list[int] = []
        self.mixer = Mixer(Shelf(directory), level_db, self.ended.append, self.clock)
        self.mixer.aim(rate)

    def hear(self, pieces: int = 1, value: int = 0) -> list[int]:
        agent = array.array("h", [value] * PIECE).tobytes()
        return [s for _ in range(pieces) for s in array.array("h", self.mixer.mix(agent, value != 0))]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def near(values: list[int], wanted: int) -> bool:
    """µ-law is right to 4 %."""
    return all(abs(value - wanted) <= abs(wanted) * 0.04 for value in values)


def test_a_sound_is_played_whole_and_its_end_is_told_once(bench: Bench) -> None:
    """100 ms of it, then silence; the number comes back when the last sample was given."""
    bench.mixer.play(PlayClip(7, "one"))
    heard = bench.hear(9)
    assert bench.ended == []
    heard += bench.hear(3)
    assert bench.ended == [7]
    assert near(heard[:1600], 1000)
    assert not any(heard[1600:])


def test_silence_is_left_alone(bench: Bench) -> None:
    """Without a sound of ours, silence costs nothing, whatever the volume."""
    bench.mixer.volume(30)
    silence = bytes(2 * PIECE)
    assert bench.mixer.mix(silence, sound=False) is silence


def test_an_earcon_is_followed_by_what_is_said_in_the_language(bench: Bench) -> None:
    """`de-AT` is German; a language without clips gets the English ones."""
    for language, value in (("de-AT", 700), ("en", 500), ("xx", 500), ("", 500)):
        bench.mixer.play(PlayClip(1, "two", "word", language))
        heard = bench.hear(10)
        assert near(heard[:960], 3000)
        assert near(heard[960:1600], value)


def test_it_is_mixed_into_the_agents_voice_and_the_volume_holds_for_both(bench: Bench) -> None:
    """The sum, then the volume; ducking is for the agent alone."""
    bench.mixer.play(PlayClip(1, "one"))
    assert near(bench.hear(2, value=2000), 3000)
    bench.mixer.duck.set(0.5)
    bench.hear(2, value=2000)
    assert near(bench.hear(2, value=2000), 2000)
    bench.mixer.volume(0)
    bench.hear(2, value=2000)
    assert not any(bench.hear(2, value=2000))


def test_what_is_too_loud_is_cut(bench: Bench) -> None:
    """A loud voice and a sound together do not turn over."""
    bench.mixer.play(PlayClip(1, "two"))
    assert set(bench.hear(2, value=32_000)) == {32_767}


def test_volume_0_is_silent_for_everything(bench: Bench) -> None:
    """No earcon either."""
    bench.mixer.volume(0)
    bench.hear()
    bench.mixer.play(PlayClip(1, "one"))
    assert not any(bench.hear(12))
    assert bench.ended == [1]


def test_another_sound_takes_the_place_of_the_first_without_a_click(bench: Bench) -> None:
    """The first fades within 5 ms under the second; both ends are told."""
    bench.mixer.play(PlayClip(1, "one"))
    bench.hear(2)
    bench.mixer.play(PlayClip(2, "two"))
    heard = bench.hear(8)
    assert bench.ended == [1, 2]
    assert heard[0] == pytest.approx(4000, rel=0.03)
    assert near(heard[80:960], 3000)
    assert max(abs(a - b) for a, b in pairwise(heard[:81])) < 40


def test_the_same_earcon_again_goes_on_and_what_is_said_follows(bench: Bench) -> None:
    """A press is answered by the earcon at once; when the cause is known a moment later, it does not begin again."""
    bench.mixer.play(PlayClip(1, "two"))
    heard = bench.hear(2)
    bench.mixer.play(PlayClip(2, "two", "word"))
    heard += bench.hear(9)
    assert bench.ended == [1, 2]
    assert near(heard[:960], 3000)
    assert near(heard[960:1600], 500)
    assert not any(heard[1600:])


def test_an_empty_order_ends_what_sounds(bench: Bench) -> None:
    """Within 5 ms."""
    bench.mixer.play(PlayClip(1, "one"))
    bench.hear(2)
    bench.mixer.play(PlayClip(2))
    heard = bench.hear(3)
    assert heard[0] > 900
    assert not any(heard[80:])
    assert bench.ended == [1]


def test_an_answer_that_would_come_too_late_is_not_given(bench: Bench) -> None:
    """A loudspeaker that came back after seconds does not play what was asked for then."""
    bench.mixer.play(PlayClip(1, "one"))
    bench.clock.advance(1.5)
    assert not any(bench.hear(3))
    assert bench.ended == [1]


def test_what_is_said_waits_for_a_slow_card(bench: Bench) -> None:
    """A sentence holds longer than an answer to a press; not for ever."""
    bench.mixer.play(PlayClip(1, "one", "two"))
    bench.clock.advance(8.0)
    assert any(bench.hear(3))
    bench.mixer.play(PlayClip(2, "one", "two"))
    bench.clock.advance(11.0)
    bench.hear(1)
    assert bench.ended[-1] == 2


def test_an_unknown_sound_is_silent_and_over_at_once(bench: Bench) -> None:
    """A table that is ahead of its files harms nobody."""
    bench.mixer.play(PlayClip(1, "three", "nothing", "de"))
    assert not any(bench.hear(2))
    assert bench.ended == [1]


def test_a_closed_stream_ends_the_sound(bench: Bench) -> None:
    """The core hears that it is over, and the next stream begins in silence."""
    bench.mixer.play(PlayClip(1, "one"))
    bench.hear(2)
    bench.mixer.end()
    bench.mixer.aim(48_000)
    assert bench.ended == [1]
    assert not any(bench.hear(2))


def test_it_is_converted_to_the_cards_rate_and_has_its_own_level(tmp_path: Path) -> None:
    """At 48 kHz it lasts as long, −6 dB makes it half as large."""
    bench = Bench(tmp_path, 48_000, level_db=-6.0206)
    bench.mixer.play(PlayClip(1, "one"))
    heard = bench.hear(40)
    loud = [at for at, value in enumerate(heard) if value > 250]
    assert loud[-1] - loud[0] == pytest.approx(4800, abs=20)
    assert near(heard[480:4300], 500)


def test_a_card_that_makes_the_volume_gets_all_samples_but_at_0(bench: Bench) -> None:
    """Software makes the volume until the card has, and where it does not; 0 is silent whatever the card does."""
    bench.mixer.use_card("a control that no card has")
    for works, volume, heard in ((True, 50, 8000), (True, 0, 0), (False, 50, 1000)):
        bench.mixer.volume(volume)
        bench.mixer._hardware.join(10.0)  # type: ignore[union-attr]
        bench.mixer._card_works(works)
        bench.hear(2, value=8000)
        assert near(bench.hear(1, value=8000), heard)


def test_the_earcons_are_as_the_script_makes_them(tmp_path: Path) -> None:
    """`python -m device_agent.bench.earcons` brings the files up to date; every rule has its sound and reverse."""
    for file in write(tmp_path):
        assert (SOUNDS / file.name).read_bytes() == file.read_bytes(), file.name
    assert {rule.earcon for rule in RULES} | {"recording", "chirp"} == set(EARCONS)
    assert {file.stem for file in SOUNDS.glob("*.ulaw")} == set(EARCONS)


@pytest.mark.parametrize("name", EARCONS)
def test_an_earcon_is_short_begins_and_ends_in_silence_and_does_not_clip(name: str) -> None:
    """At most 0.6 s, its peak at −14 dBFS, audible within 10 ms."""
    samples = synthesise(EARCONS[name])
    assert len(samples) <= 9600
    assert samples[0] == samples[-1] == 0
    assert max(map(abs, samples)) == pytest.approx(32_767 * 10 ** (-14 / 20), abs=1)
    assert max(map(abs, samples[:160])) > 500


def test_reading_the_sounds_is_quick() -> None:
    """All of them in memory long before the first is needed (generous: a slow machine is not a fault)."""
    began = time.monotonic()
    shelf = Shelf()
    shelf.prepare("de")
    assert time.monotonic() - began < 1.0
