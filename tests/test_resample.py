"""The sample-rate converter."""

from __future__ import annotations

import array
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.errors import AudioError
from device_agent.runtime.resample import Resampler

RATES = (8000, 16000, 22050, 24000, 44100, 48000)


def tone(rate: int, hz: float, seconds: float = 0.5) -> bytes:
    return array.array(
        "h", (round(10000 * math.sin(math.tau * hz * n / rate)) for n in range(int(rate * seconds)))
    ).tobytes()


def rms(pcm: bytes) -> float:
    samples = array.array("h", pcm)
    return math.sqrt(sum(v * v for v in samples) / len(samples))


def crossings_per_s(pcm: bytes, rate: int) -> float:
    samples = array.array("h", pcm)
    rising = [n for n in range(1, len(samples)) if samples[n - 1] < 0 <= samples[n]]
    return (len(rising) - 1) * rate / (rising[-1] - rising[0])


@pytest.mark.parametrize("rate_in", RATES)
@pytest.mark.parametrize("rate_out", (16000, 48000))
def test_duration_pitch_and_level_are_kept(rate_in: int, rate_out: int) -> None:
    """A tone keeps its length to one sample, its pitch and its level, from every wire rate to every card rate."""
    resampler = Resampler(rate_in, rate_out)
    out = resampler.process(tone(rate_in, 440)) + resampler.drain()
    assert abs(len(out) // 2 - rate_out * 0.5) <= 2
    assert abs(crossings_per_s(out, rate_out) - 440) < 1
    assert abs(rms(out) / rms(tone(rate_in, 440)) - 1) < 0.02


def test_sabotage_a_wrong_rate_is_heard() -> None:
    """Taking 24 kHz for 16 kHz turns the pitch check red."""
    out = Resampler(16000, 48000).process(tone(24000, 440))
    assert abs(crossings_per_s(out, 48000) - 440) > 100


def test_nothing_folds_back() -> None:
    """What 16 kHz cannot carry is taken out, not mirrored into the speech band."""
    resampler = Resampler(48000, 16000)
    resampler.process(tone(48000, 10000, 0.1))
    assert rms(resampler.process(tone(48000, 10000))) < 10000 / 2**0.5 / 1000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=12), st.sampled_from(RATES), st.sampled_from((16000, 48000)))
def test_pieces_of_any_size_give_the_same_stream(sizes: list[int], rate_in: int, rate_out: int) -> None:
    """How a sound is cut does not matter."""
    pcm = tone(rate_in, 300)[: 2 * sum(sizes)]
    whole, pieces = Resampler(rate_in, rate_out), Resampler(rate_in, rate_out)
    cut, at = b"", 0
    for size in sizes:
        cut += pieces.process(pcm[at : at + 2 * size])
        at += 2 * size
    assert cut + pieces.drain() == whole.process(pcm) + whole.drain()


def test_a_reset_forgets() -> None:
    """After a reset the same input gives the same output as from a new converter."""
    used, new = Resampler(24000, 48000), Resampler(24000, 48000)
    used.process(tone(24000, 1000))
    used.reset()
    assert used.process(tone(24000, 440)) == new.process(tone(24000, 440))


def test_equal_rates_need_no_library() -> None:
    """Without conversion nothing is loaded and every byte passes."""
    resampler = Resampler(16000, 16000, library="not-there.so")
    assert resampler.process(b"\x01\x02") == b"\x01\x02"
    resampler.reset()
    assert resampler.drain() == b""


def test_a_missing_library_names_its_package() -> None:
    """The message says what is missing, for what, and how to get it."""
    with pytest.raises(AudioError, match=r"24000 Hz to 48000 Hz: sudo apt install libspeexdsp1"):
        Resampler(24000, 48000, library="not-there.so")


def test_an_impossible_rate_is_refused() -> None:
    """A rate of 0 is an error, not a crash."""
    with pytest.raises(AudioError, match="cannot convert"):
        Resampler(0, 48000)
