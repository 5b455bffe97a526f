"""What an echo trial plays, and what follows from that which the microphone heard meanwhile. Pure; s16le at 16 kHz."""

from __future__ import annotations

import array
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from device_agent.audio.cancellers import AEC_INSTALL, Canceller
from device_agent.audio.echo_watch import POOR_DB
from device_agent.audio.reference import RATE, Reference
from device_agent.audio.vad import CLIPPED_SHARE, clipped, level_dbfs
from device_agent.runtime.ring import FRAME_BYTES

Make = Callable[[Reference], Canceller]

CHIRP_S, CHIRP_HZ = 0.12, (300.0, 1700.0)
PAUSE_S = 0.5  # between chirp and noise, and after it: longer than any delay that a canceller can follow
NOISE_S = 4.5  # a canceller has learned the room after 2 s; its last second counts
LOUDNESS = 4000.0  # peak of the chirp; the noise is about as loud

MOST_DELAY_S = 0.6
FOUND = 0.3  # likeness of a chirp in a room that echoes; noise comes to 0.2 at most
HEARD_DB = 6.0  # above the room's own noise
_COARSE = 4  # the search runs at 4 kHz: right to 0.25 ms, at a sixteenth of the work


def signal() -> bytes:
    """A chirp, a pause, noise with the spectrum and the syllables of speech, a pause: always the same."""
    low, high = CHIRP_HZ
    sweep = (high - low) / CHIRP_S / 2
    times = (n / RATE for n in range(round(CHIRP_S * RATE)))
    chirp = [math.sin(math.tau * (low + sweep * t) * t) for t in times]
    pause = [0.0] * round(PAUSE_S * RATE)
    return array.array("h", (round(LOUDNESS * value) for value in (*chirp, *pause, *_noise(), *pause))).tobytes()


def _noise() -> Iterator[float]:
    chance, smooth = random.Random(1), 0.0
    for n in range(round(NOISE_S * RATE)):
        smooth += 0.3 * (chance.gauss(0.0, 1.0) - smooth)
        yield smooth * (1.0 + 0.8 * math.sin(math.tau * 4.0 * n / RATE))


@dataclass(frozen=True, slots=True)
class Finding:
    """What the trial has shown. `echo_db` and `room_db` in dBFS, `loss_db` by the canceller that `means` names."""

    means: str
    room_db: float
    echo_db: float
    clipped: bool
    delay_ms: float | None
    loss_db: float | None = None

    @property
    def heard(self) -> bool:
        """Whether the microphone hears the loudspeaker at all."""
        return self.delay_ms is not None or self.echo_db > self.room_db + HEARD_DB


def examine(room: bytes, played: bytes, heard: bytes, means: str, cancellers: Mapping[str, Make]) -> Finding:
    """`room`: before the trial; `heard` began when `played` was handed to the card; all s16le, mono, 16 kHz.

    `means`: what `audio.echo = "auto"` would take for these cards, which is tried if it is one of `cancellers`.
    """
    noise = slice(2 * round((CHIRP_S + PAUSE_S) * RATE), 2 * round((CHIRP_S + PAUSE_S + NOISE_S) * RATE))
    overdriven = clipped(heard) > CLIPPED_SHARE
    loss = _loss(cancellers[means], played, heard) if means in cancellers else None
    return Finding(means, level_dbfs(room), level_dbfs(heard[noise]), overdriven, _delay_ms(played, heard), loss)


def _delay_ms(played: bytes, heard: bytes) -> float | None:
    """Where the chirp is in what was heard; None if it is nowhere."""
    chirp = _coarse(played[: 2 * round(CHIRP_S * RATE)])
    search = _coarse(heard[: 2 * round((CHIRP_S + MOST_DELAY_S) * RATE)])
    size, own = len(chirp), sum(map(mul, chirp, chirp))
    energies = list(accumulate(map(mul, search, search), initial=0))
    best, place = 0.0, 0
    for at in range(len(search) - size):
        energy = energies[at + size] - energies[at]
        alike = abs(sum(map(mul, chirp, search[at : at + size]))) / math.sqrt(own * energy) if energy else 0.0
        if alike > best:
            best, place = alike, at
    return 1000.0 * place * _COARSE / RATE if best >= FOUND else None


def _coarse(pcm: bytes) -> list[int]:
    samples = array.array("h", pcm)
    return [sum(samples[at : at + _COARSE]) // _COARSE for at in range(0, len(samples) - _COARSE + 1, _COARSE)]


def _loss(make: Make, played: bytes, heard: bytes) -> float:
    """By how many dB the canceller weakens the last second of the noise, when it has had the others to learn."""
    reference = Reference()
    reference.start()
    canceller = make(reference)
    cleaned = []
    for at in range(0, min(len(played), len(heard)) - FRAME_BYTES + 1, FRAME_BYTES):
        reference.write(played[at : at + FRAME_BYTES], RATE)
        cleaned.append(canceller.process(heard[at : at + FRAME_BYTES]))
    end = round((CHIRP_S + PAUSE_S + NOISE_S) * RATE) * 2
    last = slice(end - 2 * RATE, end)
    return level_dbfs(heard[last]) - level_dbfs(b"".join(cleaned)[last])


def advise(found: Finding) -> tuple[str, str]:
    """The value for `audio.echo` and why; an empty value where only the person can tell."""
    if not found.heard:
        return "", (
            "The microphone does not hear the loudspeaker. If you did hear it, the device cancels its echo itself: "
            'audio.echo = "external" (a headset: "off"). If not: is it plugged in, and turned up?'
        )
    if found.clipped:
        return "half-duplex", "The microphone is overdriven: turn it or the loudspeaker down, then try again."
    if found.means == "off":
        return "half-duplex", "This headset's microphone does hear its loudspeaker."
    if found.loss_db is None:
        return "half-duplex", f"Nobody could interrupt the agent by voice. With echo cancelling they can: {AEC_INSTALL}"
    if found.delay_ms is None or found.loss_db < POOR_DB:  # noise suppression alone weakens a steady sound as well
        return "half-duplex", "Echo cancelling does not work here: is the loudspeaker too loud for itself, or far off?"
    return "auto", f"Echo cancelling ({found.means}) works here: people can interrupt the agent by voice."
