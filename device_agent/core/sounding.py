"""Which of the agent's audio is played, and whether any of it can be heard now."""

from __future__ import annotations

from device_agent.core.commands import Discard, Flush, Play
from device_agent.core.events import AgentAudio
from device_agent.core.reply import Reply

OVERDUE_S = 2.0  # a reply that has not ended so long after it should have never will


class Sounding:
    """Follows agent audio from its arrival until it has sounded.

    Orders and facts cross each other on their way between two threads, so it is never asked "what was the last
    fact?" but "what is queued and has not begun?" and "what has begun and not ended?".
    """

    def __init__(self, tail_s: float) -> None:
        self.reply = Reply()
        self._tail_s = tail_s
        self._queued = False
        self._audible = False
        self._audible_id: int | None = None
        self._yielded = self._cut = False
        self._played_at = self._echo_until = self._ends = float("-inf")
        self._total_s = 0.0

    @property
    def now(self) -> bool:
        """Whether agent audio is audible or about to be."""
        return self._queued or self._audible

    @property
    def overdue_at(self) -> float:
        """When `now` must have ended, if nothing was lost between the threads."""
        return self._ends + OVERDUE_S

    def echoes(self, now: float) -> bool:
        """Half-duplex: the microphone hears the agent, and the user has not taken the turn by a press."""
        return not self._yielded and (self._queued or self._audible or now < self._echo_until)

    def connect(self) -> None:
        """Ids begin anew with each conversation."""
        self.reply = Reply()

    def judge(self, audio: AgentAudio, now: float) -> Play | Discard:
        """Whether this piece is played."""
        if not self.reply.wanted(audio.event_id, audio.is_final):
            return Discard(audio.handle)
        if audio.ms > 0:
            self._queued = self._queued or not self._audible or audio.event_id != self._audible_id
            self._yielded = self._cut = False
            self._played_at = now
            self._total_s += audio.ms / 1000
            self._ends = max(self._ends, now) + audio.ms / 1000
        return Play(audio.handle)

    def started(self, event_id: int | None, t: float) -> bool:
        """A reply has begun to sound. False if it was flushed before this became known."""
        wanted = self.now
        self._audible, self._audible_id = True, event_id
        if event_id == self.reply.event_id:
            self._queued = False  # nothing was queued behind it
        self._ends = max(self._ends, t + self._total_s)
        return wanted

    def resumed(self, now: float) -> None:
        """The loudspeaker is back after a moment: all that was queued may still be to come."""
        self._ends = max(self._ends, now + self._total_s)

    def idle(self, t: float, now: float) -> bool:
        """The last sample in hand was inaudible at `t`. False if more has been queued since."""
        self._audible = False
        self._echo_until = max(t, now) + self._tail_s
        # A chunk that was queued after that look will begin on its own.
        self._queued = self._queued or t < self._played_at
        if not self._queued:
            self._silent()
        return not self._queued

    def flush(self) -> list[Flush]:
        """Silence the agent. What is audible stays so until `idle` says otherwise."""
        orders = [Flush()] if self.now and not self._cut else []
        self._queued, self._cut = False, True
        self._silent()
        return orders

    def lost(self) -> list[Flush]:
        """The loudspeaker is gone, or the playback's facts are: nothing is audible, and nothing must sound later."""
        orders = self.flush()
        self._audible = False
        return orders

    def stopped(self) -> None:
        """The user took the turn by a press: nothing more of this reply, and the microphone is heard at once."""
        self.reply.stopped()
        self._yielded = True

    def _silent(self) -> None:
        self.reply.silent()
        self._played_at = self._ends = float("-inf")
        self._total_s = 0.0
