"""Measures recordings (mono s16): where a known signal is, what is missing of it, clicks, levels, tones."""

from __future__ import annotations

import array
import math
import random
from dataclasses import dataclass
from itertools import pairwise
from operator import mul

import numpy as np

from device_agent.runtime.resample import Resampler

Samples = array.array  # of "h"

RATE = 48_000
WIRE_RATE = 16_000
AUDIBLE = 200  # of 32767: −44 dBFS
BLOCK = RATE // 50


@dataclass(frozen=True, slots=True)
class Gap:
    """At `at_ms` of the signal, `ms` were inserted (above 0) or left out (below 0); `lost` never appeared."""

    at_ms: float
    ms: float
    lost: bool = False


def samples(pcm: bytes) -> Samples:
    """s16le as numbers."""
    return array.array("h", pcm)


def resampled(sound: Samples, rate: int, to: int) -> Samples:
    """The same sound, to its end."""
    converter = Resampler(rate, to)
    return samples(converter.process(sound.tobytes()) + converter.drain())


def noise(seconds: float, rate: int, seed: int = 1, dbfs: float = -20.0) -> Samples:
    """Noise below a quarter of the rate, unique at every place, whose level is `dbfs`."""
    rng = random.Random(seed)
    last = smooth = 0.0
    values = []
    for _ in range(round(seconds * rate)):
        last += 0.4 * (rng.gauss(0, 1) - last)
        smooth += 0.4 * (last - smooth)
        values.append(smooth)
    scale = 32768 * 10 ** (dbfs / 20) / math.sqrt(sum(map(mul, values, values)) / len(values))
    return array.array("h", (max(-32768, min(32767, round(v * scale))) for v in values))


def sine(seconds: float, rate: int, hz: float = 440.0, dbfs: float = -12.0) -> Samples:
    """A tone; `dbfs` is its peak."""
    peak = 32767 * 10 ** (dbfs / 20)
    return array.array("h", (round(peak * math.sin(math.tau * hz * n / rate)) for n in range(round(seconds * rate))))


def dbfs(samples: Samples) -> float:
    """Mean level; −100 for silence."""
    energy = sum(map(mul, samples, samples))
    return max(-100.0, 10 * math.log10(energy / (len(samples) * 32768.0**2))) if energy else -100.0


def likeness(recorded: Samples, at: int, block: Samples) -> float:
    """Correlation −1 … 1 of `block` with the recording at place `at`."""
    if at < 0 or at + len(block) > len(recorded):
        return 0.0
    piece, wanted = floats(recorded[at : at + len(block)]), floats(block)
    power = float(piece @ piece) * float(wanted @ wanted)
    return float(piece @ wanted) / math.sqrt(power) if power else 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """`offset`: where in the recording the block's first sample would be. `likeness`: −1 to 1."""

    offset: int
    likeness: float


def nearest(recorded: Samples, block: Samples, first: int = 0, end: int | None = None) -> Match:
    """The place between `first` and `end` that is most like `block`."""
    first, end = max(0, first), len(recorded) if end is None else end
    piece, wanted = floats(recorded[first : end + len(block)]), floats(block)
    if len(piece) < len(wanted):
        return Match(first, 0.0)
    size = 1 << (len(piece) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(piece, size) * np.conj(np.fft.rfft(wanted, size)), size)
    places = len(piece) - len(wanted) + 1
    sums = np.concatenate(([0.0], np.cumsum(piece * piece)))
    energy = sums[len(wanted) : len(wanted) + places] - sums[:places]
    best = first + int(np.argmax(products[:places] / np.sqrt(energy + 1.0)))
    return Match(best, likeness(recorded, best, block))


def find(recorded: Samples, block: Samples, first: int, end: int) -> int | None:
    """The place between `first` and `end` where `block` is; None if it is nowhere."""
    match = nearest(recorded, block, first, end)
    return match.offset if match.likeness > 0.7 else None


def floats(samples: Samples) -> np.ndarray:
    return np.frombuffer(samples, dtype="<i2").astype(float)


def onset(recorded: Samples, threshold: int = 100) -> int | None:
    """The first sample that is not silence."""
    return next((at for at, value in enumerate(recorded) if abs(value) > threshold), None)


def offset(recorded: Samples, threshold: int = 100) -> int | None:
    """The last sample that is not silence."""
    return next((at for at in range(len(recorded) - 1, -1, -1) if abs(recorded[at]) > threshold), None)


def gaps(recorded: Samples, signal: Samples, start: int) -> list[Gap]:
    """Follow `signal` through the recording from place `start` on, 20 ms at a time (its faded edges left out)."""
    found: list[Gap] = []
    shift = start
    for place in range(BLOCK, len(signal) - 2 * BLOCK, BLOCK):
        block = signal[place : place + BLOCK]
        if max(likeness(recorded, place + shift + d, block) for d in (0, -1, 1)) > 0.9:
            continue
        at_ms = place * 1000 / RATE
        new = find(recorded, block, place + shift - RATE // 10, place + shift + RATE // 3)
        if new is None:
            found.append(Gap(at_ms, 20.0, lost=True))
        elif abs(new - place - shift) > 1:
            found.append(Gap(at_ms, (new - place - shift) * 1000 / RATE))
            shift = new - place
    return found


def clicks(recorded: Samples, limit: int) -> list[int]:
    """Places where two neighbouring samples differ by more than `limit`."""
    return [at for at in range(1, len(recorded)) if abs(recorded[at] - recorded[at - 1]) > limit]


def frequency(samples: Samples, rate: int = RATE) -> float:
    """Of a tone, by its rising zero crossings."""
    rising = [at for at in range(1, len(samples)) if samples[at - 1] < 0 <= samples[at]]
    return (len(rising) - 1) * rate / (rising[-1] - rising[0])


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone on the loudspeaker: how long it sounded in all, its frequency, its holes of 3 ms or more."""

    sounding_ms: float
    hz: float
    gaps_ms: tuple[float, ...]


def tone(recorded: Samples, rate: int = RATE, window_ms: int = 3) -> Tone:
    """Measures a recording that holds one tone of at least 350 Hz (no window of 3 ms without a peak)."""
    first, last = onset(recorded, AUDIBLE), offset(recorded, AUDIBLE)
    if first is None or last is None:
        return Tone(0.0, 0.0, ())
    heard = recorded[first : last + 1]
    size = rate * window_ms // 1000
    quiet = [
        max(heard[i : i + size]) < AUDIBLE and min(heard[i : i + size]) > -AUDIBLE
        for i in range(0, len(heard) - size + 1, size)
    ]
    holes, run = [], 0
    for silent in [*quiet, False]:
        if not silent and run:
            holes.append(float(run * window_ms))
        run = run + 1 if silent else 0
    sounding = 1000 * len(heard) / rate - sum(holes)
    rises = sum(1 for a, b in pairwise(heard) if a < 0 <= b)
    return Tone(sounding, 1000 * rises / sounding if sounding else 0.0, tuple(holes))
