"""The same checks as the service's own user, inside the unit's own sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from device_agent.doctor.host import Host
from device_agent.doctor.service import UNIT
from device_agent.errors import PermissionDenied, ServiceError

NOT_TAKEN = (
    "Type", "NotifyAccess", "Exec", "Restart", "Watchdog", "Timeout", "RuntimeDirectory", "WorkingDirectory", "Nice",
    "StandardOutput", "StandardError", "OOM",
)  # fmt: skip
"""What belongs to a service that stays; with our runtime directory it would remove that of the running device."""
OWN = ("RuntimeDirectory=device-agent-doctor", "WorkingDirectory=/run/device-agent-doctor")


def properties(unit: str) -> Iterator[str]:
    """The settings of the unit's [Service] section that make its sandbox, from the text that `systemctl cat` gives."""
    section = ""
    for line in unit.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";", *NOT_TAKEN)):
            yield line.replace("%t", "/run").replace("%S", "/var/lib")
    yield from OWN


def command(host: Host, arguments: Sequence[str]) -> list[str]:
    """What to run in place of this process. Raises `DeviceAgentError` where it cannot be."""
    if host.run(("id", "-u")).text != "0":
        raise PermissionDenied("only root can put on the service's sandbox: sudo device-agent doctor --as-service")
    unit = host.run(("systemctl", "cat", UNIT))
    if unit.code:
        raise ServiceError(f"{UNIT} is not installed: {unit.text or 'no systemd here'}")
    starts = [line.partition("=")[2] for line in unit.text.splitlines() if line.startswith("ExecStart=/")]
    program = (
        starts[-1].split()[0] if starts else "/usr/bin/device-agent"
    )  # the last: a change of one's own comes later
    given = [word for line in properties(unit.text) for word in ("-p", line)]
    return ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", *given, program, "doctor", *arguments]
