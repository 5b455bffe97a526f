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
        self._stale_below = 0
        self._stale_id: int | None = None

    def wanted(self, event_id: int | None, is_final: bool) -> bool:
        """Whether to play a chunk; it then is the reply in hand."""
        if event_id is not None and (event_id < self._stale_below or event_id == self._stale_id):
            return False
        self.event_id, self.final = event_id, is_final
        return True

    def interrupted(self, event_id: int | None, in_hand: bool) -> None:
        """The server says so. `in_hand`: a reply is playing or queued at this moment."""
        if event_id is None:
            return
        self._stale_below = max(self._stale_below, event_id)
        if in_hand and self.event_id == event_id:
            self._stale_id = event_id

    def stopped(self) -> None:
        """The user stopped it here (there is no message for that): nothing more of this reply."""
        if self.event_id is not None:
            self._stale_below = max(self._stale_below, self.event_id)
            self._stale_id = self.event_id
