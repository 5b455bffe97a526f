"""The service that systemd runs: the system's, or where there is none this user's."""

from __future__ import annotations

from contextlib import suppress

from device_agent.doctor.check import Finding, failed, ok, skipped, warning
from device_agent.doctor.host import Case
from device_agent.errors import DeviceAgentError

UNIT = "device-agent.service"
RESTARTS = 3
KEYS = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "WatchdogUSec",
    "NeedDaemonReload",
)  # fmt: skip
NOTHING = "no systemd here"
SYSTEM, USER = ("systemctl",), ("systemctl", "--user")


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


def enabled(case: Case) -> Finding:
    """Whether it starts at boot."""
    call, unit = _properties(case)
    if not unit:
        return ok(NOTHING)
    if unit["LoadState"] != "loaded":
        return ok("not installed as a service: started by hand")
    if not unit.get("UnitFileState", "").startswith("enabled"):
        command = (*call, "enable", UNIT)
        return warning("it does not start at boot", f"{'sudo ' * (call == SYSTEM)}{' '.join(command)}", command)
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
        return failed(ended, "journalctl -u device-agent -n 50 says why; sudo systemctl start device-agent", command)
    if unit.get("NeedDaemonReload") == "yes":
        return warning(
            f"{state}, and its unit file has changed since", "sudo systemctl daemon-reload", (*call, "daemon-reload")
        )
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
    _, unit = _properties(case)
    count = int(unit.get("NRestarts", "0") or 0)
    if count > RESTARTS:
        return warning(
            f"restarted {count} times, last: {unit.get('Result')}", "journalctl -u device-agent -p warning says why"
        )
    return ok(f"{count} restarts")


def device(case: Case) -> Finding:
    """What the running device complains of itself."""
    if case.status is None:
        with suppress(DeviceAgentError):
            case.status = case.host.device_status(case.host.environ)
    if case.status is None:
        return skipped("no device runs here")
    wrong = [
        f"{key}: {case.status[key]}" for key in ("configuration", "fault", "panel", "buttons") if case.status.get(key)
    ]
    if wrong:
        return failed("; ".join(wrong), "mend what it names; it goes on by itself")
    return ok(f"{case.status.get('state')}, no complaint")
