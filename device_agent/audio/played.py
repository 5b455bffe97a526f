"""How much of each reply has been heard: pure arithmetic on samples handed over and samples still in the buffer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 2.0
REMEMBERED = 32  # replies


@dataclass(slots=True)
class _Run:
    """Samples `start` … `end` (not included) of the stream belong to a reply."""

    event_id: int | None
    start: int
    end: int


class PlayedClock:
    """The position of a playback stream, in samples handed to the card minus what it still holds.

    A card takes samples in lumps (a sound server: 20 ms), so right after a lump it seems to be ahead of the truth,
    and just before the next it is nearly exact. Sound itself runs evenly: so the position is the line of one
    second per second that touches what was observed during the last 2 s from below.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._written = 0
        self._lowest: deque[tuple[float, float]] = deque()  # (time, lag); lags grow: the first is the least
        self._runs: deque[_Run] = deque()
        self._heard: dict[int | None, int] = {}
        self._position = 0.0

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

    def observe(self, now: float, queued: int) -> None:
        """The card holds `queued` samples at time `now` (seconds, never decreasing)."""
        lag = (self._written - queued) / self._rate - now
        while self._lowest and self._lowest[-1][1] >= lag:
            self._lowest.pop()
        self._lowest.append((now, lag))
        while self._lowest[0][0] < now - WINDOW_S:
            self._lowest.popleft()

    def position(self, now: float) -> float:
        """Samples heard until `now`; never decreases, never more than were handed over."""
        if self._lowest:
            line = (now + self._lowest[0][1]) * self._rate
            self._position = max(self._position, min(line, float(self._written)))
        return self._position

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
