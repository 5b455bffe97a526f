"""What the rooms of the core share: the two machines' state, the timers, and the orders that are being written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from device_agent.core import commands as c
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import LINK, TURN, Link

OF_A_CONNECTION = (
    "think", "hold", "late", "good", "hang up", "approval", "max", "spent", "leave", "activity",
)  # fmt: skip


class State:
    """One table on which the conversation and its parts write; it decides nothing but what is in `tables`."""

    def __init__(self, idle_close_s: float) -> None:
        self.snapshot = Snapshot()
        self.link = self.snapshot.link
        self.conn = 0
        self.now = 0.0
        self.timers: dict[str, float] = {}
        """When (monotonic seconds) each timer that runs is due, by its name in `conversation.TIMERS`."""
        self.orders: list[c.Command] = []
        self.active_at = float("-inf")
        self.clip = self.spoken = False
        """One of the device's own sounds is audible; it speaks."""
        self.asked = False
        """The user has said something in this conversation."""
        self._idle_close_s = idle_close_s
        self._judged, self._indicator = self.snapshot, self.snapshot.indicator
        self._standing: tuple[c.UseMicrophone, bool, c.Indicator] | None = None
        self._ordered: tuple[c.Command | None, ...] = (c.UseMicrophone(False), c.UseLoudspeaker(False), None)

    def change(self, **fields: Any) -> None:
        """Replace fields of the snapshot."""
        self.snapshot = replace(self.snapshot, **fields)
        self.link = self.snapshot.link

    def link_signal(self, signal: str) -> bool:
        """Move the link's machine; False if the signal means nothing in its state."""
        link = LINK.get((self.link, signal))
        if link is not None:
            self.change(link=link)
        return link is not None

    def turn_signal(self, signal: str) -> bool:
        """Move the turn's machine; False if the signal means nothing in its state."""
        turn = TURN.get((self.snapshot.turn, signal))
        if turn is not None:
            self.change(turn=turn)
        return turn is not None

    def after(self, timer: str, seconds: float) -> None:
        """Let `timer` be due so many seconds from now; never in the past."""
        self.timers[timer] = self.now + max(0.0, seconds)

    def cancel(self, *timers: str) -> None:
        """Forget timers, whether they run or not."""
        for timer in timers:
            self.timers.pop(timer, None)

    def active(self) -> None:
        """The user, or the agent's voice, was there just now."""
        self.active_at = self.now
        self.watch_idle()

    def watch_idle(self) -> None:
        """The time without speech counts from now."""
        if self._idle_close_s and self.link in (Link.INITIATING, Link.READY, Link.BACKOFF):
            self.after("idle", self._idle_close_s)

    def stand(self, microphone: c.UseMicrophone, loudspeaker: bool) -> None:
        """Orders that hold until the next of their kind are given when they change."""
        standing = (microphone, loudspeaker, self.snapshot.indicator)
        if standing == self._standing:
            return
        self._standing = standing
        ordered: tuple[c.Command, ...] = (
            microphone,
            c.UseLoudspeaker(loudspeaker),
            c.Show(self.snapshot.indicator),
        )
        self.orders += [new for old, new in zip(self._ordered, ordered, strict=True) if old != new]
        self._ordered = ordered
