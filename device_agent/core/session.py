"""When a conversation may be opened, and when it ends for the sake of money or opening hours.

A limit that is reached does not cut anybody off: the conversation ends at the next boundary of a turn, where nobody
speaks, and a minute later at the latest.
"""

from __future__ import annotations

from collections import deque
from datetime import date

from device_agent.config.hours import DAY_MIN, parse
from device_agent.config.schema import Session as Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.activation import Activation
from device_agent.core.microphone import Microphone
from device_agent.core.speaker import Speaker
from device_agent.core.state import State
from device_agent.core.tables import Link, Turn
from device_agent.core.usage import Usage
from device_agent.protocol.messages import UserActivity

HOUR_S = 3600.0
WHOLE_DAY = 1440.0  # minutes
LEAVE_S = 60.0  # so long a turn may go on beyond a limit
KEEP_S = 300.0  # what is used is kept this often
ACTIVITY_S = 5.0  # the agent asks again after 7 s without a word, unless it knows that the user is busy
SLACK_S = 0.01  # a timer that comes a rounding error too early has come
HOURS, BUDGET, CONNECTS = "outside the opening hours", "the minutes of the day are used up", "too often in this hour"


class Session:
    """`look` after each event; `snapshot.closed` says why no conversation may be opened now, empty if one may."""

    def __init__(
        self, settings: Settings, state: State, activation: Activation, microphone: Microphone, speaker: Speaker
    ) -> None:
        self._settings = settings
        self._state = state
        self._activation = activation
        self._microphone = microphone
        self._speaker = speaker
        self._usage = Usage()
        self._hours = parse(settings.hours)
        self._open = settings.without_clock == "open" or not settings.hours
        self._connects: deque[float] = deque()
        self._connected = False
        self._since = self._kept_at = 0.0
        self._due = ""
        self._late = self._busy = self._reopened = False
        self._active_at = float("-inf")

    # ------------------------------------------------------------------------------- facts
    def restored(self, kept: e.Restored) -> None:
        """What was used before the restart."""
        self._usage.restored(kept)
        self._tell()

    def calendar(self, calendar: e.Calendar) -> None:
        """Wall time, once a minute."""
        self._count()
        self._usage.date(calendar, self._state.now)
        if calendar.synchronised and self._settings.hours:
            day, hour, minute = calendar.local[:10], int(calendar.local[11:13]), int(calendar.local[14:16])
            self._open = self._hours.open_at(date.fromisoformat(day).weekday() * DAY_MIN + hour * 60 + minute)
        self._tell()
        if self._connected and self._state.now - self._kept_at >= KEEP_S:
            self._keep()

    def judge(self) -> None:
        """Whether a conversation may be opened now."""
        state, limits = self._state, self._settings
        while self._connects and self._connects[0] + HOUR_S - state.now < SLACK_S:
            self._connects.popleft()
        closed = ""
        if not self._open:
            closed = HOURS
        elif self._left < SLACK_S:
            closed = BUDGET
        elif limits.connects_per_hour and len(self._connects) >= limits.connects_per_hour:
            closed = CONNECTS
            state.after("reopen", self._connects[0] + HOUR_S - state.now)
        if closed != state.snapshot.closed:
            self._reopened = not closed
            state.change(closed=closed)

    def limit(self, reason: str) -> None:
        """The conversation has lasted, or cost, enough: it ends where nobody is cut off."""
        self._due = self._due or reason
        self._state.after("leave", LEAVE_S)

    def overdue(self) -> None:
        """No boundary for a minute."""
        self._late = True

    def spent(self) -> None:
        """The minutes of the day are used up."""
        self._count()
        self._tell()

    def activity(self) -> None:
        """The user has been busy for a while."""
        self._send_activity()

    # ------------------------------------------------------------------------------- after each event
    def look(self) -> str:
        """Why the conversation must end now; empty if it need not."""
        link = self._state.link
        connected = link is Link.READY or link is Link.INITIATING
        if connected is not self._connected:
            self._turned(connected)
        if link is not Link.READY:
            return ""
        self._watch_user()
        if not self._due and self._state.snapshot.closed in (HOURS, BUDGET):
            self.limit("closed")
        return self._due if self._due and (self._late or self._at_boundary) else ""

    def reopened(self) -> bool:
        """Whether what was closed is open again, since this was asked last."""
        reopened, self._reopened = self._reopened, False
        return reopened

    # ------------------------------------------------------------------------------- inside
    @property
    def _left(self) -> float:
        """Seconds of the day's budget; the whole day, which may have 25 hours, is none."""
        minutes = self._settings.daily_minutes
        return 60.0 * minutes - self._usage.day_s if minutes < WHOLE_DAY else float("inf")

    @property
    def _at_boundary(self) -> bool:
        speaks = self._activation.held or self._microphone.speech or self._speaker.sounding
        return self._state.snapshot.turn is Turn.LISTENING and not speaks

    def _turned(self, connected: bool) -> None:
        state = self._state
        if connected:
            self._since = self._kept_at = state.now
            self._connects.append(state.now)
            self._due, self._late = "", False
            if self._settings.max_s:
                state.after("max", self._settings.max_s)
        else:
            self._count()
            self._keep()
            self._busy = False
        self._connected = connected
        self._tell()

    def _count(self) -> None:
        if self._connected:
            self._usage.add(self._state.now - self._since)
            self._since = self._state.now

    def _keep(self) -> None:
        self._kept_at = self._state.now
        self._state.orders.append(self._usage.order)

    def _tell(self) -> None:
        seen, used = self._state.snapshot, self._usage
        if (seen.today_s, seen.month_s) != (round(used.day_s), round(used.month_s)):
            self._state.change(today_s=round(used.day_s), month_s=round(used.month_s))
        self.judge()
        if self._connected and SLACK_S <= self._left < float("inf"):
            self._state.after("spent", self._left)

    def _watch_user(self) -> None:
        held = self._activation.held
        busy = held or (self._activation.talking and self._microphone.speech)
        if busy is self._busy:
            return
        self._busy = busy
        if not busy:
            self._state.cancel("activity")
        elif held and self._state.now - self._active_at >= ACTIVITY_S:
            self._send_activity()
        else:
            self._state.after("activity", ACTIVITY_S)

    def _send_activity(self) -> None:
        self._active_at = self._state.now
        self._state.orders.append(c.Send(self._state.conn, UserActivity()))
        self._state.after("activity", ACTIVITY_S)
