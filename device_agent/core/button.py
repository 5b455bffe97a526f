"""One button: from raw edges with their times to presses and releases, without contact bounce."""

from __future__ import annotations

from device_agent.records import record


@record
class Press:
    """The button went down; said on the leading edge, so that nothing waits for the debounce time."""

    t: float


@record
class Release:
    """The button went up after `held` seconds."""

    t: float
    held: float


class Button:
    """Debounce on time-stamped edges: the first edge counts at once, what follows within `debounce_s` is bounce.

    If the contact comes to rest in the other position during that time (a very short press), the deadline
    finds it, or the next edge does if it is handled first: so no press or release is ever lost.
    """

    def __init__(self, debounce_s: float) -> None:
        self._debounce_s = debounce_s
        self._raw = False
        self._accepted = False
        self._since = 0.0
        self._settles: float | None = None

    def edge(self, pressed: bool, t: float) -> list[Press | Release]:
        """Take a raw edge at time `t` (s)."""
        gestures = self.tick(t)
        self._raw = pressed
        return gestures + self._settle(t)

    def next_deadline(self) -> float | None:
        """When `tick` wants to be called, while a contact may still bounce."""
        return self._settles

    def tick(self, now: float) -> list[Press | Release]:
        """If the debounce time is over: accept the position at rest, as of the moment when it was over."""
        return [] if self._settles is None else self._settle(now)

    def _settle(self, now: float) -> list[Press | Release]:
        t = now
        if self._settles is not None:
            if now < self._settles:
                return []
            t, self._settles = self._settles, None
        if self._raw == self._accepted:
            return []
        self._accepted = self._raw
        self._settles = t + self._debounce_s
        held, self._since = t - self._since, t
        return [Press(t) if self._accepted else Release(t, held)]
