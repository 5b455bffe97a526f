"""One deadline for several steps."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


class Deadline:
    """A point in time shared by the steps of one operation, in seconds from its creation."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def remaining(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self._at - self._clock())

    @property
    def passed(self) -> bool:
        return self.remaining() == 0.0
