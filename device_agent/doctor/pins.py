"""Buttons and lights: the GPIO chip, the SPI bus, and the right to them."""

from __future__ import annotations

from device_agent.config.schema import CHAINS
from device_agent.doctor.check import Finding, failed, ok
from device_agent.doctor.host import Case
from device_agent.panel.pins import choose_backend

NOT_NEEDED = "not needed: no pin is configured, or there are none here"


def _used(case: Case) -> bool:
    return (
        choose_backend(case.settings.panel, case.host.place("proc/device-tree/model"), case.settings.lights) == "gpio"
    )


def chip(case: Case) -> Finding:
    """Whether the machine has pins."""
    if not _used(case):
        return ok(NOT_NEEDED)
    chips = sorted(case.host.place("dev").glob("gpiochip*"))
    if not chips:
        return failed("no /dev/gpiochip*", 'this machine has no pins: set panel.backend = "none"')
    return ok(", ".join(chip.name for chip in chips))


def rights(case: Case) -> Finding:
    """Whether this user may use them."""
    if not _used(case):
        return ok(NOT_NEEDED)
    if not any(case.host.may_use(chip) for chip in case.host.place("dev").glob("gpiochip*")):
        return failed("/dev/gpiochip* may not be used by this user", "sudo usermod -aG gpio $USER, then log in again")
    return ok("may be used")


def library(case: Case) -> Finding:
    """Whether there is a library for them."""
    if not _used(case):
        return ok(NOT_NEEDED)
    there = [name for name in ("gpiozero", "lgpio", "RPi.GPIO") if case.host.installed(name)]
    if "gpiozero" not in there or len(there) < 2:
        return failed(f"installed: {', '.join(there) or 'none'}", "sudo apt install python3-gpiozero python3-lgpio")
    if case.host.installed("gpiozero").startswith("1.") and "lgpio" in there:  # which it takes first
        return failed(
            f"gpiozero {case.host.installed('gpiozero')} does not work with lgpio {case.host.installed('lgpio')}",
            "take gpiozero 2 (Raspberry Pi OS has it), or sudo apt remove python3-lgpio",
        )
    return ok(", ".join(there))


def spi(case: Case) -> Finding:
    """Whether a chain of lights has its bus."""
    if case.settings.lights.kind not in CHAINS or not _used(case):
        return ok("not needed: no chain of lights is configured, or there are no pins here")
    bus = case.host.place(f"dev/spidev{case.settings.lights.spi}")
    if not bus.exists():
        return failed(f"no /dev/{bus.name}: SPI is off", "sudo raspi-config nonint do_spi 0, then reboot")
    if not case.host.may_use(bus):
        return failed(f"/dev/{bus.name} may not be used by this user", "sudo usermod -aG spi $USER, then log in again")
    return ok(bus.name)
