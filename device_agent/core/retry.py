"""When to try again: jitter between a floor and a cap that grows with each failure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from device_agent.core.ending import Verdict

GOOD_CONVERSATION_S = 30.0
FLOOR_S = 0.25
YOUNG_CAP_S = 120.0
LONGEST_S = 3600.0  # whatever a server wishes
HOUR_S = 3600.0
OPENED_PER_HOUR = 60  # by ourselves: each may be billed
DOUBLINGS = 10


class Retry:
    """Delays in seconds. Full jitter spreads a fleet best; the first delay decides after a server's restart.

    The count is reset by a good conversation (30 s) or a normal end only: a socket that opens and dies at once
    keeps growing. Each of those may be billed, so their delays have a floor as well: at least half of a ceiling
    of up to two minutes, which is at most 12 attempts in 5 minutes whatever the draws, and 60 in an hour.
    """

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self.failures = 0
        self._opened: deque[float] = deque(maxlen=OPENED_PER_HOUR)
        self._refusals = 0  # in a row, of the kind that is not tried for ever

    def reset(self) -> None:
        """All is well again."""
        self.failures = self._refusals = 0

    def opened(self, now: float) -> None:
        """A connection was opened."""
        self._opened.append(now)

    def delay(
        self, verdict: Verdict, retry_after: float | None, user_waits: bool, opened: bool, now: float = 0.0
    ) -> float | None:
        """Seconds until the next attempt; None when it makes no sense without a person.

        `opened`: the WebSocket was open, so the failure is not the network's.
        """
        self._refusals = self._refusals + 1 if verdict.attempts else 0
        if verdict.attempts and self._refusals >= verdict.attempts:
            return None
        delay = verdict.fixed_s  # waiting for a person or the clock: that does not grow, nor does it count
        if delay is None:
            delay = self._jitter(verdict, user_waits, opened)
            self.failures += 1
        delay = max(FLOOR_S, verdict.floor_s, delay)
        if retry_after is not None:
            delay = max(delay, min(retry_after, LONGEST_S) * (1 + 0.25 * self._rng()))
        if len(self._opened) == OPENED_PER_HOUR:
            delay = max(delay, self._opened[0] + HOUR_S - now)
        return delay

    def _jitter(self, verdict: Verdict, user_waits: bool, opened: bool) -> float:
        draw = self._rng()
        if self.failures == 0:
            return draw * (1.0 if user_waits else 5.0)
        ceiling = 2.0 ** min(self.failures, DOUBLINGS)  # offline for days must not overflow
        if opened and not verdict.floor_s:
            return min(YOUNG_CAP_S, ceiling) * (1 + draw) / 2
        return min(verdict.cap_s, ceiling) * draw
