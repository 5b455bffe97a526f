"""Everything on its way to the client, in order, each with the time at which it may leave. Pure."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Send:
    """One frame: text, or bytes as a binary frame. `facts` describe it to the witness."""

    payload: str | bytes
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame to be sent."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """End TCP without a close frame."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Neither read nor write for `seconds`, which may be infinite."""

    seconds: float


Action = Send | Close | Drop | Stall


class Downlink:
    """A first-in-first-out queue that adds `latency` and up to `jitter` (ms) to each action."""

    def __init__(self, latency: float, jitter: float, rng: random.Random) -> None:
        self._latency, self._jitter, self._rng = latency, jitter, rng
        self._queue: deque[tuple[float, Action]] = deque()

    def put(self, action: Action, now: float) -> None:
        due = now + (self._latency + self._rng.uniform(0, self._jitter)) / 1000
        # Jitter delays, but TCP keeps the order.
        self._queue.append((max(due, self._queue[-1][0]) if self._queue else due, action))

    def take(self, now: float) -> Iterator[Action]:
        """What may leave by `now`."""
        while self._queue and self._queue[0][0] <= now:
            yield self._queue.popleft()[1]

    @property
    def next_due(self) -> float:
        return self._queue[0][0] if self._queue else float("inf")
