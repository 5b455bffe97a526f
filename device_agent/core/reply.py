"""Which of the agent's audio is still wanted: the interruption rule.

Sources disagree whether audio that carries the *same* id as an interruption is stale. Both happen: the rest of
the interrupted reply (stale), and a new reply that a message caused (wanted). What was in hand when the
interruption came tells them apart.
"""

from __future__ import annotations


class Reply:
    """Decides chunk by chunk. Ids are one growing counter; a missing id is always wanted."""

    def __init__(self) -> None:
        self.event_id: int | None = None
        """The reply that was queued last."""
        self.final = False
        """Whether its end was announced."""
        self._in_hand: set[int] = set()
        self._stale_below = 0
        self._stale: frozenset[int] = frozenset()

    def wanted(self, event_id: int | None, is_final: bool) -> bool:
        """Whether to play a chunk; it then is the reply in hand."""
        if event_id is not None:
            if event_id < self._stale_below or event_id in self._stale:
                return False
            self._in_hand.add(event_id)
        self.event_id, self.final = event_id, is_final
        return True

    def silent(self) -> None:
        """Nothing is in hand any more: all was played or flushed."""
        self._in_hand.clear()

    def interrupted(self, event_id: int | None) -> None:
        """The server says so: stale is what came before, and this id too if it is playing or queued now."""
        if event_id is not None:
            self._stale_below = max(self._stale_below, event_id)
            self._stale = frozenset(self._in_hand & {event_id}) or self._stale

    def stopped(self) -> None:
        """The user stopped it here (there is no message for that): nothing more of what is in hand."""
        self._stale = frozenset(self._in_hand)
        self._stale_below = max(self._stale_below, *self._stale, 0)
