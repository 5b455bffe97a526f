"""One button: from raw edges with their times to presses and releases, without contact bounce."""

from __future__ import annotations

from device_agent.records import record

CHATTER_S = 1.0  # a contact that has not come to rest for so long is broken


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
    """Debounce on time-stamped edges: the first edge counts at once, then none until `debounce_s` of rest.

    If the contact comes to rest in the other position (a very short press), the deadline finds it, or the next edge
    does if it is handled first: so no press or release is ever lost. A contact that never rests is one press.
    """

    def __init__(self, debounce_s: float) -> None:
        self._debounce_s = debounce_s
        self._raw = False
        self.pressed = False
        self.since = 0.0
        """When the position changed last."""
        self._restless_since = 0.0
        self._settles: float | None = None

    def edge(self, pressed: bool, t: float) -> list[Press | Release]:
        """Take a raw edge at time `t` (s)."""
        gestures = self.tick(t)
        self._raw = pressed
        if self._settles is not None:
            self._settles = t + self._debounce_s
            return gestures
        self._restless_since = t
        return gestures + self._accept(t)

    def chatters(self, now: float) -> bool:
        """Whether the contact has not come to rest for a second."""
        return self._settles is not None and now - self._restless_since >= CHATTER_S

    def next_deadline(self) -> float | None:
        """When `tick` wants to be called, while a contact may still bounce."""
        return self._settles

    def tick(self, now: float) -> list[Press | Release]:
        """If the contact is at rest: accept its position, as of the moment when that was clear."""
        moves: list[Press | Release] = []
        while self._settles is not None and self._settles <= now:
            t, self._settles = self._settles, None
            moves += self._accept(t)
        return moves

    def _accept(self, t: float) -> list[Press | Release]:
        if self._raw == self.pressed:
            return []
        self.pressed = self._raw
        self._settles = t + self._debounce_s
        held, self.since = t - self.since, t
        return [Press(t) if self.pressed else Release(t, held)]
