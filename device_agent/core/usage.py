"""How long the device was connected today and this month. Conversations are billed by connected time."""

from __future__ import annotations

from datetime import date

from device_agent.core.commands import KeepUsage
from device_agent.core.events import Calendar, Restored

DAY_S = 86_400.0


class Usage:
    """Seconds by local day and month.

    A date counts only from a clock that is synchronised; until then what is used is counted for the day that will turn
    out to be today, and 24 hours of uptime are a day. A clock that is set back does not give time back: the later day
    stays, unless it was more than one ahead.
    """

    def __init__(self) -> None:
        self.day_s = self.month_s = 0.0
        self._day = self._month = ""
        self._loose_s = 0.0  # used since the start, on a day not yet known
        self._day_began = 0.0

    def restored(self, kept: Restored) -> None:
        """What the last run has counted."""
        self._day, self._month = kept.day, kept.month
        self.day_s, self.month_s = kept.day_s, kept.month_s

    def add(self, seconds: float) -> None:
        """So much more was used."""
        self.day_s += seconds
        self.month_s += seconds
        self._loose_s += seconds

    def date(self, calendar: Calendar, now: float) -> None:
        """It is this day; `now` is monotonic."""
        day, month = calendar.local[:10], calendar.local[:7]
        if not calendar.synchronised:
            if now - self._day_began >= DAY_S:
                self._day_began, self.day_s, self._loose_s = now, 0.0, 0.0
            return
        if self._day and _number(self._day) - _number(day) == 1:
            day, month = self._day, self._month
        if day > self._day:
            self.day_s = self._loose_s
        if month > self._month:
            self.month_s = self._loose_s
        self._day, self._month, self._loose_s, self._day_began = day, month, 0.0, now

    @property
    def order(self) -> KeepUsage:
        """What must outlive a restart."""
        return KeepUsage(self._day, self.day_s, self._month, self.month_s)


def _number(day: str) -> int:
    return date.fromisoformat(day).toordinal()
