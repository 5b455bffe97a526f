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


LOST = (Indicator.OFFLINE, Indicator.NO_MICROPHONE, Indicator.NO_LOUDSPEAKER)
"""What time alone may mend, or a restart of the machine."""


@record
class Snapshot:
    """Everything about the device that a person may see.

    `microphone` and `loudspeaker` hold what is wrong there, `…_card` what was chosen last.
    """

    link: Link = Link.DOWN
    turn: Turn = Turn.IDLE
    muted: bool = False
    muted_by_person: bool = False
    """By button or socket, not by the switch: this outlives a restart."""
    queued: bool = False
    fault: str = ""
    setup: bool = False
    """The fault is that agent or key are still missing."""
    advice: str = ""
    """Why it waits for something that mends itself."""
    lost: str = ""
    """What the last connection, or the attempt at one, ended with, until there is a conversation again."""
    microphone: str = ""
    loudspeaker: str = ""
    microphone_card: str = ""
    loudspeaker_card: str = ""
    volume: int = 100
    panel: str = ""
    """Why buttons and light cannot be used."""
    buttons: str = ""
    """What is wrong with a button."""
    microphone_check: str = ""
    loudspeaker_check: str = ""
    """What the self check has found."""
    language: str = ""
    unheard_s: int = 0
    """So much of what was said while connecting made room for what was said later, since the start, rounded up."""
    echo: str = ""
    """How the agent is kept from hearing itself, and how well, for a person."""
    closed: str = ""
    """Why no conversation may be opened now."""
    today_s: int = 0
    month_s: int = 0
    """Seconds connected today and this month."""

    @property
    def wrong(self) -> str:
        """What a person should hear of first, "" where all is well."""
        return self.fault or self.microphone or self.loudspeaker or self.microphone_check or self.loudspeaker_check

    @property
    def indicator(self) -> Indicator:
        """The one thing to show, highest priority first."""
        conditions = (
            (bool(self.fault) and self.setup, Indicator.SETUP),
            (bool(self.fault), Indicator.ERROR),
            (bool(self.microphone or self.microphone_check), Indicator.NO_MICROPHONE),
            (bool(self.loudspeaker or self.loudspeaker_check), Indicator.NO_LOUDSPEAKER),
            (self.muted, Indicator.MUTED),
            (self.link is Link.BACKOFF, Indicator.OFFLINE),
            (self.queued, Indicator.QUEUED),
            (self.link in (Link.OPENING, Link.INITIATING), Indicator.CONNECTING),
            (bool(self.closed) and self.link is Link.DOWN and self.turn is Turn.IDLE, Indicator.CLOSED),
        )
        for holds, indicator in conditions:
            if holds:
                return indicator
        return TURNS.get(self.turn, Indicator.IDLE)
