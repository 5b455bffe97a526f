"""Does the peer's program still read? Its kernel acknowledges and keeps some 3 s of audio on its own."""

from __future__ import annotations

QUIET_S = 0.4
PATIENCE_S = 0.4
SLOW_ANSWERS = 1.5


class Probe:
    """Asks by WebSocket pings, so that old audio does not pile up before a server that stalls. Pure bookkeeping.

    After 0.4 s without an inbound byte a ping is due; when the answer takes 0.4 s more (or half as long again as
    the slowest answer so far), audio is held back until anything comes. What is held grows old and is given up by
    the uplink's own rule. A peer that has never answered a ping is left alone: silence proves nothing there.
    """

    def __init__(self, now: float) -> None:
        self.holding = False
        """Nothing of the microphone should be written now."""
        self._received = self._pongs = 0
        self._heard_at = now
        self._asked_at: float | None = None
        self._slowest = 0.0

    def turn(self, received: int, pongs: int, now: float) -> bool:
        """Take the connection's totals of bytes received and pings answered; whether to send a ping now."""
        if received != self._received:
            if self._asked_at is not None and pongs != self._pongs:
                self._slowest = max(self._slowest, now - self._asked_at)
            self._received, self._pongs = received, pongs
            self._heard_at, self._asked_at, self.holding = now, None, False
        elif self._asked_at is None:
            if now - self._heard_at >= QUIET_S:
                self._asked_at = now
                return True
        elif self._pongs:
            self.holding = now - self._asked_at >= max(PATIENCE_S, SLOW_ANSWERS * self._slowest)
        return False
