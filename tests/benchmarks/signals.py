"""What the recordings say: where one sound lies in another, when it starts, where it has holes. Mono s16 samples."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import accumulate, pairwise
from operator import mul

from device_agent.runtime.resample import Resampler

WIRE_RATE = 16_000
CARD_RATE = 48_000
COARSE = 8  # the first search looks at means of so many samples
AUDIBLE = 200  # of 32767: −44 dBFS

Samples = Sequence[int]


def samples(pcm: bytes) -> array[int]:
    found = array("h")
    found.frombytes(pcm)
    return found


def resampled(signal: array[int], source: int, target: int) -> array[int]:
    converter = Resampler(source, target)
    return samples(converter.process(signal.tobytes()) + converter.drain())


def noise(seconds: float, seed: int, peak: int = 8000) -> array[int]:
    """White noise at 16 kHz, different for each seed: every stretch of it is found again only in its own place."""
    rng = random.Random(seed)
    return array("h", [rng.randint(-peak, peak) for _ in range(round(seconds * WIRE_RATE))])


@dataclass(frozen=True, slots=True)
class Match:
    """`offset`: index in the searched signal of the template's first sample. `likeness`: −1 to 1."""

    offset: int
    likeness: float


def likeness(template: Samples, signal: Samples, offset: int) -> float:
    """Normalised correlation of `template` with as much of `signal` from `offset` on; 0 where it does not fit."""
    piece = signal[offset : offset + len(template)]
    if offset < 0 or len(piece) < len(template):
        return 0.0
    energy = sum(map(mul, template, template)) * sum(map(mul, piece, piece))
    return sum(map(mul, template, piece)) / math.sqrt(energy) if energy else 0.0


def _coarse(signal: Samples) -> array[int]:
    return array("h", [sum(signal[i : i + COARSE]) // COARSE for i in range(0, len(signal) - COARSE + 1, COARSE)])


def find(template: Samples, signal: Samples, first: int = 0, last: int | None = None) -> Match:
    """The place in `signal`, from offset `first` to `last`, that is most like `template`: first roughly, then exactly.

    Half a coarse step of misalignment blurs high tones, so the best few rough places are all looked at.
    """
    last = len(signal) - len(template) if last is None else min(last, len(signal) - len(template))
    rough = _rough(_coarse(template), _coarse(signal[first : last + len(template)]))
    places = {first + COARSE * i + j for i in rough for j in range(-COARSE, COARSE + 1)}
    inside = [place for place in places if first <= place <= last] or [first]
    best = max(inside, key=lambda place: likeness(template, signal, place))
    return Match(best, likeness(template, signal, best))


def _rough(template: Samples, signal: Samples) -> list[int]:
    """The five offsets of greatest likeness. The energies come from one running sum."""
    n = len(template)
    energy = list(accumulate(map(mul, signal, signal), initial=0))

    def score(at: int) -> float:
        here = energy[at + n] - energy[at]
        return sum(map(mul, template, signal[at : at + n])) / math.sqrt(here) if here else 0.0

    return nlargest(5, range(len(signal) - n + 1), key=score)


def first_audible(signal: Samples, level: int = AUDIBLE) -> int | None:
    return next((i for i, value in enumerate(signal) if abs(value) > level), None)


def last_audible(signal: Samples, level: int = AUDIBLE) -> int | None:
    return next((i for i in range(len(signal) - 1, -1, -1) if abs(signal[i]) > level), None)


@dataclass(frozen=True, slots=True)
class Tone:
    """A tone on the loudspeaker: how long it sounded in all, its frequency, its holes of 3 ms or more."""

    sounding_ms: float
    hz: float
    gaps_ms: tuple[float, ...]


def tone(signal: Samples, rate: int = CARD_RATE, window_ms: int = 3) -> Tone:
    """Measures a recording that holds one tone of at least 350 Hz (no window of 3 ms without a peak)."""
    first, last = first_audible(signal), last_audible(signal)
    if first is None or last is None:
        return Tone(0.0, 0.0, ())
    heard = signal[first : last + 1]
    size = rate * window_ms // 1000
    quiet = [
        max(heard[i : i + size]) < AUDIBLE and min(heard[i : i + size]) > -AUDIBLE
        for i in range(0, len(heard) - size + 1, size)
    ]
    gaps, run = [], 0
    for silent in [*quiet, False]:
        if not silent and run:
            gaps.append(float(run * window_ms))
        run = run + 1 if silent else 0
    sounding = 1000 * len(heard) / rate - sum(gaps)
    rises = sum(1 for a, b in pairwise(heard) if a < 0 <= b)
    return Tone(sounding, 1000 * rises / sounding if sounding else 0.0, tuple(gaps))
