"""The wall clock, by which certificates are judged."""

from __future__ import annotations

from datetime import UTC, datetime

from device_agent.doctor.check import Finding, failed, ok, warning
from device_agent.doctor.host import Case
from device_agent.system.wall_clock import SANE

REMEDY = "connect it to a network with a time server: timedatectl set-ntp true"
FIX = ("timedatectl", "set-ntp", "true")


def sane(case: Case) -> Finding:
    """Whether the date can be true."""
    date = f"{datetime.fromtimestamp(case.host.now(), UTC):%Y-%m-%d %H:%M} UTC"
    if case.host.now() < SANE:
        return failed(f"it is {date}, says the clock: every certificate is refused", REMEDY, FIX)
    return ok(date)


def synchronised(case: Case) -> Finding:
    """Whether a time service vouches for it."""
    if case.host.place("run/systemd/timesync/synchronized").exists():
        return ok("set by systemd-timesyncd")
    answer = case.host.run(("timedatectl", "show", "-P", "NTPSynchronized"))
    if answer.code:
        return ok("unknown: no systemd here to ask")
    if answer.text == "no":
        return warning("no time service has set the clock since the start", REMEDY, FIX)
    return ok("set by a time service")
