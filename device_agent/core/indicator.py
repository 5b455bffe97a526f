"""What the light shows: one priority-ordered list of conditions."""

from __future__ import annotations

from device_agent.core.commands import Indicator
from device_agent.core.tables import Link, Turn
from device_agent.records import record

TURNS = {
    Turn.SPEAKING: Indicator.SPEAKING,
    Turn.THINKING: Indicator.THINKING,
    Turn.LISTENING: Indicator.LISTENING,
}


@record
class Snapshot:
    """Everything about the device that a person may see."""

    link: Link = Link.DOWN
    turn: Turn = Turn.IDLE
    muted: bool = False
    queued: bool = False
    fault: str = ""
    microphone: str = ""
    loudspeaker: str = ""
    volume: int = 100

    @property
    def indicator(self) -> Indicator:
        """The one thing to show, highest priority first. `microphone` and `loudspeaker` hold what is wrong there."""
        conditions = (
            (bool(self.fault), Indicator.ERROR),
            (bool(self.microphone), Indicator.NO_MICROPHONE),
            (bool(self.loudspeaker), Indicator.NO_LOUDSPEAKER),
            (self.muted, Indicator.MUTED),
            (self.link is Link.BACKOFF, Indicator.OFFLINE),
            (self.queued, Indicator.QUEUED),
            (self.link in (Link.OPENING, Link.INITIATING), Indicator.CONNECTING),
        )
        for holds, indicator in conditions:
            if holds:
                return indicator
        return TURNS.get(self.turn, Indicator.IDLE)
