"""The chirp of the self check: three tones in a row, and whether they are in what the microphone heard."""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from operator import mul

from device_agent.audio.vad import level_dbfs
from device_agent.core.events import ChirpSearched

RATE = 16_000
FRAME = 320
TONES = (1000.0, 1400.0, 2000.0)  # Hz
TONE_MS = 120
SHARE = 0.15  # of a frame's energy: 7 dB below the noise around it
LEAST = 3  # frames of the six that each tone lasts
SILENT_DBFS = -85.0  # no microphone in a room is that quiet; one that is dead, or muted in the mixer, is


def heard(frames: Sequence[bytes]) -> bool:
    """Whether frames of 20 ms (16 kHz) hold the three tones, one after the other."""
    shares = [[share(frame, tone) >= SHARE for tone in TONES] for frame in frames]
    lasts = TONE_MS // 20
    for start in range(len(frames) - len(TONES) * lasts + 1):
        places = (range(start + n * lasts, start + (n + 1) * lasts) for n in range(len(TONES)))
        if all(sum(shares[at][n] for at in place) >= LEAST for n, place in enumerate(places)):
            return True
    return False


def searched(frames: Sequence[bytes]) -> ChirpSearched:
    """The finding as a fact."""
    return ChirpSearched(heard(frames), all(level_dbfs(frame) < SILENT_DBFS for frame in frames))


def share(frame: bytes, hz: float, rate: int = RATE) -> float:
    """The part of the energy of s16le samples at `rate` Hz that lies at `hz` (Goertzel), 0 … 1."""
    samples = array.array("h", frame)
    energy: int = sum(map(mul, samples, samples))
    if not energy:
        return 0.0
    factor = 2.0 * math.cos(math.tau * hz / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    power = last * last + before * before - factor * last * before
    return 2.0 * power / (len(samples) * energy)
