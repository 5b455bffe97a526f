"""How much of each reply has been heard: pure arithmetic on samples handed over and samples still in the buffer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 0.3  # so long a short stall that nobody noticed may mislead
DRY_S = 0.01  # what a sound server has taken in advance
REMEMBERED = 32  # replies


@dataclass(slots=True)
class _Run:
    """Samples `start` … `end` (not included) of the stream belong to a reply."""

    event_id: int | None
    start: int
    end: int


class PlayedClock:
    """The position of a playback stream, in samples handed to the card minus what it still holds.

    A card reports what it has taken in lumps (a sound server: 20 ms): right after a lump that is exact, before the
    next it is old. Sound itself runs evenly: so the position is the line of one second per second that touches
    what was observed during the last 0.3 s from above. A card that ran dry begins a new line.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._written = 0
        self._highest: deque[tuple[float, float]] = deque()  # (time, lead); falling: the first is the highest
        self._runs: deque[_Run] = deque()
        self._heard: dict[int | None, int] = {}
        self._position = 0.0
        self._dry_at = 0  # what had been taken when the card had nothing left

    @property
    def written(self) -> int:
        """Samples handed to the card."""
        return self._written

    def silence(self, frames: int) -> None:
        """`frames` samples that belong to no reply were handed over."""
        self._written += frames

    def sound(self, event_id: int | None, frames: int) -> None:
        """`frames` samples of reply `event_id` were handed over."""
        start = self._written
        self._written += frames
        if self._runs and self._runs[-1].event_id == event_id and self._runs[-1].end == start:
            self._runs[-1].end = self._written
        else:
            self._runs.append(_Run(event_id, start, self._written))

    def observe(self, now: float, queued: int) -> bool:
        """The card holds `queued` samples at time `now` (seconds, never decreasing). True if it has run dry.

        A sound server does not say so when it starves between two lumps: that follows from the position.
        """
        taken = self._written - queued
        dry = self._written > 0 and (queued == 0 or self._line(now) >= self._written + DRY_S * self._rate)
        if dry:
            self._dry_at, self._position = taken, float(self._written)
        if taken <= self._dry_at:
            self._highest.clear()  # not running (yet, or again): no line to draw
            return dry
        lead = taken / self._rate - now
        while self._highest and self._highest[-1][1] <= lead:
            self._highest.pop()
        self._highest.append((now, lead))
        while self._highest[0][0] < now - WINDOW_S:
            self._highest.popleft()
        return dry

    def position(self, now: float) -> float:
        """Samples heard until `now`; never decreases, never more than were handed over."""
        self._position = max(self._position, min(self._line(now), float(self._written)))
        return self._position

    def _line(self, now: float) -> float:
        return (now + self._highest[0][1]) * self._rate if self._highest else self._position

    def time_of(self, sample: int, now: float) -> float:
        """When `sample` is heard, if the card never starves."""
        return now + max(0.0, sample - self.position(now)) / self._rate

    def heard_ms(self, event_id: int | None, now: float) -> float:
        """Milliseconds of reply `event_id` heard until `now`."""
        position = self.position(now)
        self._settle(position)
        frames = float(self._heard.get(event_id, 0))
        for run in self._runs:
            if run.event_id == event_id:
                frames += min(max(0.0, position - run.start), run.end - run.start)
        return frames * 1000 / self._rate

    def _settle(self, position: float) -> None:
        """Fold what was heard to its end into one number per reply."""
        while self._runs and self._runs[0].end <= position:
            run = self._runs.popleft()
            self._heard[run.event_id] = self._heard.pop(run.event_id, 0) + run.end - run.start
            if len(self._heard) > REMEMBERED:
                del self._heard[next(iter(self._heard))]
