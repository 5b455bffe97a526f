"""One spoken reply: cut into audio events, paced, aligned, and cut short. Pure."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from device_agent.simulator.messages import Message
from device_agent.simulator.options import Pace


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one audio event, which begins `start_ms` into the reply and leaves at `due` (monotonic seconds)."""

    due: float
    data: bytes
    start_ms: float
    duration_ms: float


@dataclass(slots=True)
class Reply:
    """A reply on its way. `bytes_per_ms` is that of the output format."""

    text: str
    event_id: int
    number: int
    started: float
    duration_ms: float
    waiting: deque[Chunk]
    ends: bool = False  # the agent hangs up after it
    chunks: int = field(init=False)

    def __post_init__(self) -> None:
        self.chunks = len(self.waiting)

    def sounding(self, now: float) -> bool:
        """Whether the listener, starting when the first event left, still hears it."""
        return now < self.started + self.duration_ms / 1000

    def spoken(self, now: float) -> str:
        """The words that have sounded by `now`."""
        share = (now - self.started) * 1000 / self.duration_ms if self.duration_ms else 1.0
        return spoken_part(self.text, share)


def cut(data: bytes, bytes_per_s: int, sample_bytes: int, lengths: tuple[int, int], rng: random.Random) -> list[bytes]:
    """Pieces of random length between `lengths` (ms), each a whole number of samples; the last may be shorter."""
    pieces, at = [], 0
    while at < len(data):
        size = max(1, bytes_per_s * rng.randint(*lengths) // 1000 // sample_bytes) * sample_bytes
        pieces.append(data[at : at + size])
        at += size
    return pieces


def paced(pieces: list[bytes], bytes_per_s: int, pace: Pace, start: float, rng: random.Random) -> deque[Chunk]:
    """Gives each piece its time: at once, faster than it sounds, as it sounds, or late by up to the jitter."""
    chunks: deque[Chunk] = deque()
    at_ms, due = 0.0, start
    for piece in pieces:
        wanted = start
        if pace.kind == "jitter":
            wanted += (at_ms + rng.uniform(0, pace.value)) / 1000
        elif pace.kind != "at-once":
            wanted += at_ms / 1000 / pace.value
        due = max(due, wanted)  # pieces do not overtake each other
        duration = 1000 * len(piece) / bytes_per_s
        chunks.append(Chunk(due, piece, at_ms, duration))
        at_ms += duration
    return chunks


def alignment(text: str, total_ms: float, start_ms: float, duration_ms: float) -> Message:
    """The characters that begin within a chunk, evenly spread over the reply; times count from the chunk's start."""
    each = total_ms / len(text) if text else 0.0
    inside = [i for i in range(len(text)) if start_ms <= i * each < start_ms + duration_ms]
    return {
        "chars": [text[i] for i in inside],
        "char_start_times_ms": [int(i * each - start_ms) for i in inside],
        "char_durations_ms": [int(each)] * len(inside),
    }


def spoken_part(text: str, share: float) -> str:
    """The whole words within the first `share` (0 to 1) of `text`."""
    if share >= 1:
        return text
    head = text[: int(len(text) * max(0.0, share))]
    return head[: head.rfind(" ")].rstrip() if " " in head else ""
