"""The last rung: where nothing else has helped for hours the machine is started anew. Off unless it is configured.

Whether it is time is decided here. Since when the device is unwell, or its process dies young, is kept in the runtime
directory, which outlives the process and not the machine (nor `systemctl stop`). The order is a file that systemd's
`device-agent-reboot.path` waits for: the service itself needs no right to reboot anything.

After the first order each further one needs a machine that has been up for 12 hours: so there are two in a day at most,
and no clock that may be wrong is asked.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from device_agent.records import record
from device_agent.runtime.deadline import Clock, Deadline
from device_agent.system.state_file import StateFile

log = logging.getLogger(__name__)

WELL_S = 60.0  # so long without complaint counts as mended, and a process that has lived so long as one that lives
AGAIN_S = 3600.0  # between two decisions
HALF_DAY_S = 43_200.0
STATE_S = 2.0
UNWELL, YOUNG, ORDER = "unwell-since", "young-since", "reboot"


@record
class Health:
    """How the device is: `well`, and whether somebody may be in a conversation with it (`busy`)."""

    well: bool
    busy: bool


class LastRung:
    """`look` once a second. `clock` is the machine's monotonic one, which begins with the boot."""

    def __init__(
        self,
        hours: float,
        directory: Path,
        state: StateFile,
        clock: Clock = time.monotonic,
    ) -> None:
        self._after_s = 3600.0 * hours
        self._directory = directory
        self._state = state
        self._clock = clock
        self._began = self._next = clock()
        self._unwell = self._recall(UNWELL)
        self._young = self._recall(YOUNG)
        if self._young is None:
            self._young = self._mark(YOUNG, self._began)
        self._well_since: float | None = None

    def look(self, health: Health) -> None:
        """Take note, and give the order when it is time."""
        now = self._clock()
        if self._young is not None and now - self._began >= WELL_S:
            self._young = None
            self._clear(YOUNG)
        if not health.well:
            self._well_since = None
            if self._unwell is None:
                self._unwell = self._mark(UNWELL, now)
        elif self._well_since is None:
            self._well_since = now
        elif self._unwell is not None and now - self._well_since >= WELL_S:
            self._unwell = None
            self._clear(UNWELL)
        marks = (self._young, None if health.well else self._unwell)
        lasts = now - min((mark for mark in marks if mark is not None), default=now)
        if lasts >= self._after_s and not health.busy and now >= self._next:
            self._next = now + AGAIN_S
            self._reboot(now, lasts / 3600)

    # ------------------------------------------------------------------------------- inside
    def _reboot(self, now: float, hours: float) -> None:
        if self._state.kept.rebooted and now < HALF_DAY_S:
            log.error("reboot.refused hours=%.1f reason='it did not help lately: 12 hours after the boot'", hours)
            return
        self._state.change(rebooted=True)
        if not self._state.close(Deadline(STATE_S)) or not self._state.writable:
            log.error("reboot.refused hours=%.1f reason='the state cannot be written: it would be for ever'", hours)
            return
        if not self._state.kept.rebooted:  # the dispatcher changed something else in that very moment, and won
            self._next = now
            return
        log.error("reboot.ordered hours=%.1f", hours)
        self._mark(ORDER, now)

    def _recall(self, name: str) -> float | None:
        with suppress(OSError, ValueError):
            return float((self._directory / name).read_text())
        return None

    def _mark(self, name: str, at: float) -> float:
        try:
            (self._directory / name).write_text(f"{at:.0f}\n")
        except OSError as error:
            log.warning("reboot.unwritable file=%s reason=%r", self._directory / name, error.strerror)
        return at

    def _clear(self, name: str) -> None:
        with suppress(OSError):
            (self._directory / name).unlink()
