"""One button: from raw edges with their times to presses and releases, without contact bounce."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Press:
    """The button went down; said on the leading edge, so that nothing waits for the debounce time."""

    t: float


@dataclass(frozen=True, slots=True)
class Release:
    """The button went up after `held` seconds."""

    t: float
    held: float


class Button:
    """Debounce on time-stamped edges: the first edge counts at once, what follows within `debounce_s` is bounce.

    If the contact comes to rest in the other position during that time (a very short press), the deadline
    finds it: so no release is ever lost.
    """

    def __init__(self, debounce_s: float) -> None:
        self._debounce_s = debounce_s
        self._raw = False
        self._accepted = False
        self._since = 0.0
        self._settles: float | None = None

    def edge(self, pressed: bool, t: float) -> Press | Release | None:
        """Take a raw edge at time `t` (s)."""
        self._raw = pressed
        return self._settle(t)

    def next_deadline(self) -> float | None:
        """When `tick` wants to be called, while a contact may still bounce."""
        return self._settles

    def tick(self, now: float) -> Press | Release | None:
        """The debounce time is over: accept the position at rest."""
        return self._settle(now)

    def _settle(self, now: float) -> Press | Release | None:
        if self._settles is not None and now < self._settles:
            return None
        self._settles = None
        if self._raw == self._accepted:
            return None
        self._accepted = self._raw
        self._settles = now + self._debounce_s
        held, self._since = now - self._since, now
        return Press(now) if self._accepted else Release(now, held)
