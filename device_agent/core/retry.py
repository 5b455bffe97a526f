"""When to try again: full jitter between a floor and a cap that grows with each failure."""

from __future__ import annotations

from collections.abc import Callable

from device_agent.core.ending import Verdict

GOOD_CONVERSATION_S = 30.0
FLOOR_S = 0.25


class Retry:
    """Delays in seconds. Full jitter spreads a fleet best; the first delay decides after a server's restart.

    The count is reset by a good conversation (30 s) or a normal end only: a socket that opens and dies at once
    keeps growing.
    """

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self.failures = 0

    def reset(self) -> None:
        self.failures = 0

    def delay(self, verdict: Verdict, retry_after: float | None, user_waits: bool) -> float | None:
        """Seconds until the next attempt; None when it makes no sense without a person."""
        n = self.failures
        self.failures += 1
        if verdict.attempts is not None and self.failures >= verdict.attempts:
            return None
        if verdict.fixed_s is not None:
            delay = verdict.fixed_s
        elif n == 0:
            delay = self._rng() * (1.0 if user_waits else 5.0)
        else:
            delay = self._rng() * min(verdict.cap_s, 2.0**n)
        delay = max(FLOOR_S, verdict.floor_s, delay)
        if retry_after is not None:
            delay = max(delay, retry_after * (1 + 0.25 * self._rng()))
        return delay
