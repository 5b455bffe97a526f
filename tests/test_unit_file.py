"""The systemd unit: pure text checks, and systemd's own where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNIT = (SYSTEMD / "device-agent.service").read_text()
USER = (SYSTEMD / "sysusers.d" / "device-agent.conf").read_text()

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("ExecStart", "/usr/bin/device-agent run"),
        ("WatchdogSec", "10"),
        ("WatchdogSignal", "SIGABRT"),
        ("Restart", "always"),
        ("StartLimitIntervalSec", "0"),
        ("User", "device-agent"),
        ("SupplementaryGroups", "audio gpio"),
        ("WorkingDirectory", "%t/device-agent"),
        ("RuntimeDirectory", "device-agent"),
        ("LimitCORE", "0"),
    ],
)
def test_what_the_program_relies_on(key: str, value: str) -> None:
    """Notify, watchdog, restart for ever, a static user, a writable working directory for lgpio, no core dumps."""
    assert values(key) == [value]


def test_each_key_is_set_once_but_for_lists() -> None:
    """A key that appears twice is a mistake, except where systemd adds up."""
    keys = re.findall(r"^(\w+)=", UNIT, re.MULTILINE)
    assert {key for key in keys if keys.count(key) > 1} == {"DeviceAllow", "SystemCallFilter"}


def test_the_program_ends_by_itself_before_systemd_kills_it() -> None:
    """`os._exit` comes at 6 s, systemd's kill later."""
    assert int(values("TimeoutStopSec")[0]) > 6


def test_a_missing_key_does_not_prevent_the_start() -> None:
    """The credential is named without a path: systemd takes a missing one for a failure only if it has a path."""
    assert values("LoadCredential") == ["elevenlabs-api-key"]


def test_the_boards_identity_stays_visible() -> None:
    """gpiozero reads /proc/cpuinfo and /proc/device-tree: `ProcSubset=pid` would hide them."""
    assert values("ProcSubset") == []


def test_the_user_and_its_groups_are_declared() -> None:
    """sysusers.d makes the user of the unit, in the groups that own sound and GPIO."""
    assert re.search(r"^u device-agent ", USER, re.MULTILINE)
    assert {"m device-agent audio", "m device-agent gpio"} <= set(USER.splitlines())


@pytest.fixture
def checkable(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    unit = tmp_path / "device-agent.service"
    unit.write_text(UNIT.replace("ExecStart=/usr/bin/device-agent", "ExecStart=/bin/true"))
    return unit


@needs_systemd
def test_systemd_knows_every_key(checkable: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    command = ["systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", str(checkable)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_exposure_stays_below_two(checkable: Path) -> None:
    """`systemd-analyze security` scores 2.0 at most."""
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(checkable)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-300:]
