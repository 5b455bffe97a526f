"""Wall time: once a minute, at changes, and with a word on whether it can be trusted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_agent.core.events import Calendar
from device_agent.system.wall_clock import SANE, TIME_ERROR, WallClock, is_synchronised


def test_a_calendar_comes_once_a_minute_and_at_a_step() -> None:
    """However often it looks; a clock that is set is told at the next look."""
    posted: list[Calendar] = []
    times = iter([SANE + 59.0, SANE + 59.5, SANE + 60.0, SANE + 61.0, SANE - 7000.0])
    clock = WallClock(posted.append, lambda: next(times), lambda: True)
    for _ in range(5):
        clock.look()
    assert [calendar.local[17:] for calendar in posted] == ["59", "00", "20"]
    assert all(calendar.synchronised for calendar in posted)


@pytest.mark.parametrize(("state", "expected"), [(0, True), (TIME_ERROR, False), (-1, True)])
def test_where_there_is_no_timesyncd_the_kernel_knows(tmp_path: Path, state: int, expected: bool) -> None:
    """chrony tells the kernel; where that may not be asked a date that makes sense has to do."""
    assert is_synchronised(tmp_path / "none", lambda: state) is expected


def test_timesyncd_has_the_first_word(tmp_path: Path) -> None:
    """While its file is missing the clock is not set, whatever the kernel believes."""
    assert is_synchronised(tmp_path, lambda: 0) is False
    (tmp_path / "synchronized").touch()
    assert is_synchronised(tmp_path, lambda: TIME_ERROR) is True


NAMESPACE = ("unshare", "--mount", sys.executable, "-c")
MOVED = """
import subprocess
from device_agent.system.wall_clock import WallClock
times, posted = iter((1_800_000_000.0, 1_800_000_060.0)), []
clock = WallClock(posted.append, lambda: next(times), lambda: True)
for zone in ("Etc/UTC", "Asia/Tokyo"):
    subprocess.run(("mount", "--bind", "/usr/share/zoneinfo/" + zone, "/etc/localtime"), check=True)
    clock.look()
print([calendar.offset_s for calendar in posted])
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run((*NAMESPACE, ""), capture_output=True, check=False).returncode != 0,
    reason="puts another file in the place of /etc/localtime, in a mount namespace of its own",
)
def test_a_zone_that_is_set_while_it_runs_holds_at_once() -> None:
    """`timedatectl set-timezone`: opening hours are meant in the new one, without a restart."""
    environ = {name: text for name, text in os.environ.items() if name != "TZ"}
    done = subprocess.run((*NAMESPACE, MOVED), env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0, 32400]"


def test_the_kernel_answers() -> None:
    """The real call: it says something, and breaks nothing."""
    assert is_synchronised(Path("/nowhere")) in (True, False)
