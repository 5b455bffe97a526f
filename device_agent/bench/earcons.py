"""The earcons, synthesised: `python -m device_agent.bench.earcons` writes them where the program reads them.

Each is a few notes; a note has a soft beginning, two overtones and a tail that dies away, so that nothing clicks.
"""

from __future__ import annotations

import array
import math
from collections.abc import Mapping
from pathlib import Path

from device_agent.audio.chirp import TONE_MS, TONES
from device_agent.audio.clips import RATE, SOUNDS
from device_agent.protocol import ulaw
from device_agent.records import record

PEAK_DBFS = -14.0
ATTACK_MS, RELEASE_MS = 6, 20
OVERTONES = (1.0, 0.25, 0.08)


@record
class Note:
    """`hz` begins at `at_ms`; it is half as loud after `half_ms` and over after `ms`."""

    hz: float
    at_ms: int
    ms: int
    half_ms: int = 60
    level: float = 1.0


EARCONS: Mapping[str, tuple[Note, ...]] = {
    "listening": (Note(659, 0, 80), Note(988, 65, 140)),
    "done": (Note(988, 0, 80), Note(659, 65, 140)),
    "muted": (Note(523, 0, 90), Note(349, 75, 180)),
    "unmuted": (Note(349, 0, 90), Note(523, 75, 180)),
    "recording": (Note(1047, 0, 90, 40), Note(1047, 140, 90, 40), Note(1047, 280, 90, 40)),
    "chirp": tuple(Note(hz, TONE_MS * n, TONE_MS, 1000) for n, hz in enumerate(TONES)),
    "press": (Note(880, 0, 45, 15),),
    "volume": (Note(784, 0, 60, 20),),
    "waiting": (Note(698, 0, 260, 70), Note(698, 300, 260, 70, 0.6)),
    "no-network": (Note(587, 0, 110), Note(466, 120, 110), Note(370, 240, 220)),
    "no-microphone": (Note(440, 0, 70, 30), Note(440, 120, 70, 30), Note(330, 240, 240)),
    "error": (Note(294, 0, 130, 80), Note(277, 150, 130, 80), Note(208, 300, 260, 90)),
}


def synthesise(notes: tuple[Note, ...]) -> array.array[int]:
    """16 kHz samples, as loud as all others."""
    length = max(note.at_ms + note.ms for note in notes) * RATE // 1000
    sum_of = [0.0] * length
    for note in notes:
        start = note.at_ms * RATE // 1000
        for n, value in enumerate(_note(note)):
            sum_of[start + n] += value
    scale = 32_767 * 10 ** (PEAK_DBFS / 20) / max(map(abs, sum_of))
    return array.array("h", (round(value * scale) for value in sum_of))


def _note(note: Note) -> list[float]:
    count = note.ms * RATE // 1000
    attack, release = ATTACK_MS * RATE // 1000, RELEASE_MS * RATE // 1000
    values = []
    for n in range(count):
        edge = min(1.0, n / attack, (count - 1 - n) / release)
        fall = 0.5 ** (n * 1000 / RATE / note.half_ms)
        phase = math.tau * note.hz * n / RATE
        tone = sum(part * math.sin((k + 1) * phase) for k, part in enumerate(OVERTONES))
        values.append(note.level * edge * fall * tone)
    return values


def write(directory: Path = SOUNDS) -> list[Path]:
    """One file for each earcon; returns their paths."""
    directory.mkdir(exist_ok=True)
    files = []
    for name, notes in EARCONS.items():
        files.append(directory / f"{name}.ulaw")
        files[-1].write_bytes(ulaw.encode(synthesise(notes).tobytes()))
    return files


if __name__ == "__main__":
    for file in write():
        print(file)
