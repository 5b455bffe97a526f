"""The service as a user gets it: its own unit in its own sandbox. test_installed.py has the package, and the boots."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from board import LED, READY_S, press, serving
from guest import Guest
from wire import pause

UNIT = "device-agent"


@pytest.fixture(scope="module")
def service(guest: Guest) -> Iterator[Guest]:
    with serving(guest) as service:
        yield service


def talk(guest: Guest) -> None:
    """A press of the button opens a conversation: the simulator sees its first message, the LED line burns."""
    seen = "grep -c connected /run/events || true"
    before = int(guest.run(seen))
    press(guest)
    guest.wait_for(f"[ $({seen}) -gt {before} ]", timeout=READY_S)
    guest.wait_for(f"grep 1 /run/pins/sim_gpio{LED}/value", timeout=READY_S)


def written(guest: Guest) -> int:
    """What the service has had written to any disk so far, by the kernel's own account."""
    return int(guest.run(f"sed -n 's/^write_bytes: //p' /proc/{guest.pid(UNIT)}/io"))


def lines(guest: Guest) -> int:
    return len(guest.lines(UNIT))


def test_the_button_opens_a_conversation_and_nothing_is_written(service: Guest) -> None:
    """Inside the shipped sandbox: pins in and out, both cards; 0 bytes to the disk and few lines to the journal."""
    assert service.run("systemctl is-active device-agent").strip() == "active"
    size, bytes_before, lines_before = service.usb_wav.stat().st_size, written(service), lines(service)
    talk(service)
    pause(5)
    assert service.usb_wav.stat().st_size > size
    assert written(service) == bytes_before
    press(service)
    service.wait_for(f"grep 0 /run/pins/sim_gpio{LED}/value", timeout=READY_S)
    assert lines(service) - lines_before <= 30
    pause(3)  # one write at the end of a conversation: the time used
    bytes_before, lines_before = written(service), lines(service)
    pause(5)
    assert (written(service), lines(service)) == (bytes_before, lines_before)


def test_the_doctor_is_content_inside_the_sandbox(service: Guest) -> None:
    """The service's user, groups, devices and filters, while the service runs: no complaint of sound, pins, service."""
    done = service.attempt("device-agent doctor --as-service --json", timeout=120)
    found = {check["id"]: check for check in json.loads(done.out)["checks"]}
    bad = [check for check in found.values() if check["status"] in ("failed", "warning")]
    assert {check["id"] for check in bad} <= {"clock.synchronised", "memory.available", "network.tcp"}, bad
    assert found["gpio.rights"]["evidence"] == "may be used" and found["audio.rights"]["status"] == "ok"
    assert service.run("test -S /run/device-agent/control.sock && echo there").strip() == "there"


def test_a_frozen_process_is_killed_and_talks_again(service: Guest) -> None:
    """SIGSTOP: the watchdog ends it, systemd starts it, a press of the button opens a conversation."""
    pid = service.pid(UNIT)
    service.run(f"kill -STOP {pid}")
    service.wait_for(
        f"p=$(systemctl show -P MainPID {UNIT}); [ $p -ne 0 ] && [ $p -ne {pid} ] && systemctl -q is-active {UNIT}",
        timeout=2 * READY_S,
    )
    talk(service)
    press(service)
