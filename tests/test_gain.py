"""Volume as arithmetic: the curve, its limits, ramps without clicks, the same result with and without audioop."""

from __future__ import annotations

import array
import random
from itertools import pairwise

import pytest

from device_agent.audio.gain import Gain, add, add_plainly, curve, mul, mul_plainly

RATE = 16_000


def pcm(*values: int) -> bytes:
    return array.array("h", values).tobytes()


def samples(data: bytes) -> list[int]:
    return array.array("h", data).tolist()


def test_the_curve_is_silent_at_0_and_unity_at_100() -> None:
    """0 is silent, 100 changes nothing, 50 is 18 dB softer, and every step is louder than the one before."""
    gains = [curve(volume) for volume in range(101)]
    assert gains[0] == 0.0
    assert gains[100] == 1.0
    assert gains[50] == 0.125
    assert gains == sorted(set(gains))


@pytest.mark.parametrize(("volume", "gain"), [(-5, 0.0), (1000, 1.0)])
def test_the_curve_is_cut_at_its_ends(volume: int, gain: float) -> None:
    """No volume makes it louder than it is, nor turns the wave over."""
    assert curve(volume) == gain


def test_both_ways_to_calculate_agree_and_clip() -> None:
    """With and without audioop samples differ by one step at most; what is too loud is cut, not turned over."""
    chance = random.Random(1)
    one = pcm(32_767, -32_768, 0, 1, -1, *(chance.randint(-32_768, 32_767) for _ in range(500)))
    other = pcm(32_767, -32_768, 5, -1, 1, *(chance.randint(-32_768, 32_767) for _ in range(500)))
    assert samples(add(one, other)) == samples(add_plainly(one, other))
    for gain in (0.0, 0.125, 0.9, 1.7):
        assert all(
            abs(a - b) <= 1 for a, b in zip(samples(mul(one, gain)), samples(mul_plainly(one, gain)), strict=True)
        )
    assert samples(mul_plainly(pcm(30_000, -30_000), 2.0)) == [32_767, -32_768]


def test_unity_costs_nothing() -> None:
    """At full volume the samples pass through as they are."""
    sound = pcm(1, 2, 3)
    assert Gain().apply(sound, RATE) is sound


def test_a_change_takes_20_ms_and_has_no_step() -> None:
    """From full to −18 dB within 20 ms, the steps smaller than a twentieth of the way, then constant."""
    gain = Gain()
    gain.set(0.125)
    out = samples(b"".join(gain.apply(pcm(*[10_000] * 160), RATE) for _ in range(4)))
    settled = next(n for n, value in enumerate(out) if value == 1250)
    assert 240 < settled <= 320
    assert set(out[settled + 1 :]) <= {1249, 1250}
    assert max(abs(a - b) for a, b in pairwise(out)) < 50


def test_a_ramp_ends_within_a_piece_or_goes_over_many() -> None:
    """Pieces of any length give the same sound."""
    cuts = []
    for size in (1, 7, 160, 1000):
        gain = Gain()
        gain.set(0.0, ramp_ms=10.0)
        data = pcm(*[10_000] * 1000)
        cuts.append(samples(b"".join(gain.apply(data[at : at + 2 * size], RATE) for at in range(0, 2000, 2 * size))))
    assert all(abs(a - b) <= 1 for cut in cuts for a, b in zip(cut, cuts[0], strict=True))
    assert cuts[0][-1] == 0


def test_a_change_while_it_changes_begins_where_it_is() -> None:
    """Back again before it was there: no step either."""
    gain = Gain()
    gain.set(0.0)
    before = samples(gain.apply(pcm(*[10_000] * 160), RATE))
    gain.set(1.0)
    after = samples(gain.apply(pcm(*[10_000] * 320), RATE))
    assert abs(before[-1] - after[0]) < 50
    assert after[-1] == 10_000
    assert gain.target == 1.0
