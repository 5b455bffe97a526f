"""Wall time for the core: what the clock says, and whether any time service vouches for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from device_agent.core.events import Calendar

TIMESYNC = Path("/run/systemd/timesync")
SANE = 1_767_225_600  # 2026-01-01: a clock before that was never set
TIME_ERROR = 5
TIMEX_BYTES = 256  # more than the kernel's struct timex has


class WallClock:
    """`look`, called by the main thread at least every second, posts a `Calendar` once a minute and at changes."""

    def __init__(
        self,
        post: Callable[[Calendar], None],
        now: Callable[[], float] = time.time,
        synchronised: Callable[[], bool] | None = None,
    ) -> None:
        self._post = post
        self._now = now
        self._synchronised = synchronised or is_synchronised
        self._said: tuple[int, int] | None = None

    def look(self) -> None:
        """Post what has changed."""
        now = self._now()
        time.tzset()  # the C library looks at /etc/localtime only once, else
        local = time.localtime(now)
        said = (int(now // 60), local.tm_gmtoff)
        if said != self._said:
            self._said = said
            self._post(Calendar(time.strftime("%Y-%m-%dT%H:%M:%S", local), local.tm_gmtoff, self._synchronised()))


def is_synchronised(directory: Path = TIMESYNC, ask: Callable[[], int] | None = None) -> bool:
    """systemd-timesyncd says so in a file; of another time service the kernel knows, or a date that makes sense."""
    if directory.exists():
        return (directory / "synchronized").exists()
    state = (ask or _kernel)()
    return time.time() >= SANE if state < 0 else state != TIME_ERROR


def _kernel() -> int:
    """The state that adjtimex() returns; −1 where it may not be asked, as in our unit (ProtectClock)."""
    import ctypes

    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
