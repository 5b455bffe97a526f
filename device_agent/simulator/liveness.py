"""Pings, and whether they are answered. Pure."""

from __future__ import annotations

from collections.abc import Iterator

_PATIENCE_S = 5.0


class Liveness:
    """Asks every `interval` seconds and measures the answers."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = float("inf")
        self._last_id = 0
        self._outstanding: dict[int, float] = {}
        self._last_ms: int | None = None

    def start(self, now: float) -> None:
        self._due = now + self._interval

    def due(self, now: float) -> tuple[int, int | None] | None:
        """The id and round-trip estimate of a ping that should go out now."""
        if now < self._due:
            return None
        self._due = now + self._interval
        self._last_id += 1
        return self._last_id, self._last_ms

    @property
    def next_due(self) -> float:
        return self._due

    def sent(self, event_id: int, now: float) -> None:
        """The ping has really left."""
        self._outstanding[event_id] = now

    def pong(self, event_id: object, now: float) -> float | None:
        """Milliseconds that the answer took; None if nobody asked."""
        if not isinstance(event_id, int) or event_id not in self._outstanding:
            return None
        took = 1000 * (now - self._outstanding.pop(event_id))
        self._last_ms = round(took)
        return took

    def overdue(self, now: float) -> Iterator[int]:
        """Pings without an answer for 5 s, each reported once."""
        for event_id in [i for i, sent in self._outstanding.items() if now - sent > _PATIENCE_S]:
            del self._outstanding[event_id]
            yield event_id

    def forgive(self) -> None:
        """The server itself was not reading."""
        self._outstanding.clear()
