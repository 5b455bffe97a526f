"""The service that systemd runs: the system's, or where there is none this user's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device_agent.config.secrets import API_KEY_CREDENTIAL
from device_agent.doctor.check import Finding, failed, ok, skipped, warning
from device_agent.doctor.host import Case
from device_agent.setup.credentials import DROPIN

UNIT = "device-agent.service"
RESTARTS = 3
KEYS = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "WatchdogUSec",
    "NeedDaemonReload",
)  # fmt: skip
ELSEWHERE = "only the service sees its key: sudo device-agent doctor --as-service looks with it"
NOTHING = "no systemd here"
SYSTEM, USER = ("systemctl",), ("systemctl", "--user")


def managed(case: Case, tool: str) -> tuple[str, ...]:
    """`systemctl` or `journalctl`, called for the manager that has our unit."""
    return (tool, *_properties(case)[0][1:])


def _properties(case: Case) -> tuple[tuple[str, ...], dict[str, str]]:
    """How to call systemctl, and what it says of our unit; nothing where systemd does not run."""
    if not case.host.place("run/systemd/system").exists():
        return SYSTEM, {}
    for call in (SYSTEM, USER):
        answer = case.host.run((*call, "show", UNIT, "--property", ",".join(KEYS)))
        found = dict(line.partition("=")[::2] for line in answer.text.splitlines()) if not answer.code else {}
        if found.get("LoadState") == "loaded":
            return call, found
    return SYSTEM, {"LoadState": "not-found"}


def _typed(command: Sequence[str]) -> str:
    """As a person types it."""
    return " ".join(command if USER[-1] in command else ("sudo", *command))


def _journal(call: tuple[str, ...]) -> str:
    return " ".join(("journalctl", *call[1:], "-u", "device-agent"))


def key_elsewhere(case: Case) -> bool:
    """Whether systemd may give its service a key that nobody else sees."""
    if case.secrets.api_key() or case.host.environ.get("CREDENTIALS_DIRECTORY"):
        return False
    call, unit = _properties(case)
    etc = case.host.place("etc")
    stores = (etc / "credstore" / API_KEY_CREDENTIAL, etc / "credstore.encrypted" / API_KEY_CREDENTIAL, etc / DROPIN)
    return call == SYSTEM and unit.get("LoadState") == "loaded" and any(map(_may_be, stores))


def _may_be(file: Path) -> bool:
    try:
        file.stat()
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def enabled(case: Case) -> Finding:
    """Whether it starts at boot."""
    call, unit = _properties(case)
    if not unit:
        return ok(NOTHING)
    if unit["LoadState"] != "loaded":
        return ok("not installed as a service: started by hand")
    if not unit.get("UnitFileState", "").startswith("enabled"):
        command = (*call, "enable", UNIT)
        return warning("it does not start at boot", _typed(command), command)
    return ok(f"starts at boot ({'of this user' if call == USER else 'of the system'})")


def linger(case: Case) -> Finding:
    """A user's service runs at boot only if the user lingers."""
    call, unit = _properties(case)
    if call != USER or not unit:
        return ok("not needed")
    user = case.host.environ.get("USER", "")
    if case.host.run(("loginctl", "show-user", user, "-P", "Linger")).text != "yes":
        command = ("loginctl", "enable-linger", user)
        return warning("it ends when you log out, and does not start at boot", " ".join(command), command)
    return ok("runs without anybody logged in")


def running(case: Case) -> Finding:
    """Whether it runs now."""
    call, unit = _properties(case)
    if unit.get("LoadState") != "loaded":
        return ok(NOTHING if not unit else "not installed as a service")
    state = f"{unit.get('ActiveState')} ({unit.get('SubState')})"
    if unit.get("ActiveState") != "active":
        ended = f"{state}, last exit: {unit.get('Result')}, code {unit.get('ExecMainStatus')}"
        command = (*call, "start", UNIT)
        return failed(ended, f"{_journal(call)} -n 50 says why; {_typed(command)}", command)
    if unit.get("NeedDaemonReload") == "yes":
        command = (*call, "daemon-reload")
        return warning(f"{state}, and its unit file has changed since", _typed(command), command)
    return ok(state)


def watchdog(case: Case) -> Finding:
    """Whether systemd would notice if it hung."""
    _, unit = _properties(case)
    if unit.get("LoadState") != "loaded":
        return ok("not installed as a service")
    if unit.get("WatchdogUSec", "0") in ("0", "infinity"):
        return warning(
            "nobody would notice if it hung", "take WatchdogSec= out of your own changes: systemctl cat device-agent"
        )
    return ok(f"every {unit['WatchdogUSec']}")


def restarts(case: Case) -> Finding:
    """Whether it dies again and again."""
    call, unit = _properties(case)
    count = int(unit.get("NRestarts", "0") or 0)
    if count > RESTARTS:
        return warning(f"restarted {count} times, last: {unit.get('Result')}", f"{_journal(call)} -p warning says why")
    return ok(f"{count} restarts")


def device(case: Case) -> Finding:
    """What the running device complains of itself."""
    status = case.device()
    if status is None:
        return skipped(case.refused or "no device runs here")
    wrong = [f"{key}: {status[key]}" for key in ("configuration", "fault", "panel", "buttons") if status.get(key)]
    if wrong:
        return failed("; ".join(wrong), "mend what it names; it goes on by itself")
    return ok(f"{status.get('state')}, no complaint")
