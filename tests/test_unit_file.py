"""The systemd unit: pure text checks, and systemd's own where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from device_agent.system.last_rung import ORDER

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNIT = (SYSTEMD / "device-agent.service").read_text()
USER_UNIT = (SYSTEMD / "user" / "device-agent.service").read_text()
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
        ("SupplementaryGroups", "audio gpio spi"),
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
    """sysusers.d makes the user of the unit, in the groups that own sound, GPIO and SPI."""
    assert re.search(r"^u device-agent ", USER, re.MULTILINE)
    assert {"m device-agent audio", "m device-agent gpio", "m device-agent spi"} <= set(USER.splitlines())


@pytest.fixture
def checkable(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    unit = tmp_path / "device-agent.service"
    unit.write_text(UNIT.replace("ExecStart=/usr/bin/device-agent", "ExecStart=/bin/true"))
    return unit


@needs_systemd
@pytest.mark.parametrize(("text", "manager"), [(UNIT, "--system"), (USER_UNIT, "--user")])
def test_systemd_knows_every_key(checkable: Path, tmp_path: Path, text: str, manager: str) -> None:
    """`systemd-analyze verify` has nothing to say."""
    checkable.write_text(text.replace("ExecStart=/usr/bin/device-agent", "ExecStart=/bin/true"))
    command = ["systemd-analyze", manager, "verify", "--recursive-errors=yes", "--man=no", str(checkable)]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_knows_every_key_of_the_last_rung(tmp_path: Path) -> None:
    """The path that is waited for, and what it starts."""
    files = [tmp_path / f"device-agent-reboot.{kind}" for kind in ("path", "service")]
    for file in files:
        file.write_text((SYSTEMD / file.name).read_text())
    command = ["systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_last_rung_waits_for_the_programs_own_file() -> None:
    """In the runtime directory that the service makes, which a boot empties."""
    waited = settings((SYSTEMD / "device-agent-reboot.path").read_text())["PathExists"]
    assert waited == f"/run/{values('RuntimeDirectory')[0]}/{ORDER}"


@needs_systemd
def test_the_exposure_is_low(checkable: Path) -> None:
    """`systemd-analyze security` scores 1.6 at most; the score is out of 10."""
    done = exposure(checkable)
    assert done.returncode == 0, done.stdout[-300:]


@needs_systemd
def test_a_unit_without_its_filter_of_system_calls_is_refused(checkable: Path) -> None:
    """Sabotage of the gate above."""
    checkable.write_text(re.sub(r"(?m)^SystemCallFilter=.*$", "", checkable.read_text()))
    assert exposure(checkable).returncode != 0


def exposure(unit: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=16", "--no-pager", str(unit)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_users_unit_is_watched_as_the_systems_is() -> None:
    """Same readiness, watchdog, patience and limits; no groups, devices or credentials, which only root gives."""
    user = settings(USER_UNIT)
    for key, value in settings(UNIT).items():
        if key in ("Type", "ExecStart", "Restart", "RestartSec", "UMask", "StartLimitIntervalSec", "LimitCORE"):
            assert user[key] == value
        if key.startswith(("Watchdog", "Timeout", "Runtime", "StateDirectory")):
            assert user[key] == value
    assert not {"User", "SupplementaryGroups", "LoadCredential", "DevicePolicy", "ProtectHome"} & set(user)


def test_the_machines_watchdog_suits_a_raspberry_pi() -> None:
    """Its timer holds 15 s at most."""
    text = (SYSTEMD / "system.conf.d" / "device-agent-watchdog.conf").read_text()
    assert int(settings(text)["RuntimeWatchdogSec"].removesuffix("s")) < 15


def settings(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
