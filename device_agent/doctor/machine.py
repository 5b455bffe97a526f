"""Power, temperature, disk and memory, and the sound board."""

from __future__ import annotations

import re

from device_agent.audio.hardware import Machine
from device_agent.doctor.check import Finding, failed, ok, warning
from device_agent.doctor.host import Case
from device_agent.setup.boards import BOARDS
from device_agent.setup.boot import MARK, PLACES

UNDERVOLTAGE, THROTTLED = 1 << 0, 1 << 2
UNDERVOLTAGE_WAS, THROTTLED_WAS = 1 << 16, 1 << 18
HOT_C, TOO_HOT_C = 75.0, 84.0
DISK_BYTES = 50_000_000
MEMORY_KB = 60_000
THROTTLE = "sys/devices/platform/soc/soc:firmware/get_throttled"
STATE = "var/lib/device-agent"


def power(case: Case) -> Finding:
    """What the Raspberry Pi's firmware says of its supply."""
    text = case.host.text(THROTTLE)
    if not text:
        answer = case.host.run(("vcgencmd", "get_throttled"))
        text = "" if answer.code else answer.text.rpartition("=")[2]
    try:
        bits = int(text, 16)
    except ValueError:
        return ok("no Raspberry Pi firmware to ask")
    if bits & UNDERVOLTAGE:
        return failed("undervoltage now", "use the official power supply, and a short, thick cable")
    if bits & UNDERVOLTAGE_WAS:
        return warning("undervoltage since the start", "use the official power supply, and a short, thick cable")
    if bits & (THROTTLED | THROTTLED_WAS):
        return warning("the processor was slowed down (heat)", "give it air, or a heat sink")
    return ok("never too low")


def temperature(case: Case) -> Finding:
    """How hot the processor is."""
    text = case.host.text("sys/class/thermal/thermal_zone0/temp")
    if not text.lstrip("-").isdigit():
        return ok("no sensor")
    degrees = int(text) / 1000
    if degrees >= HOT_C:
        finding = failed if degrees >= TOO_HOT_C else warning
        return finding(f"{degrees:.0f} °C", "give it air, or a heat sink")
    return ok(f"{degrees:.0f} °C")


def space(case: Case) -> Finding:
    """Room for state and journal."""
    place = case.host.place(STATE)
    free = case.host.free_bytes(place if place.exists() else case.host.root)
    if free < DISK_BYTES:
        return warning(f"{free / 1e6:.0f} MB left", "sudo journalctl --vacuum-size=50M; sudo apt clean")
    return ok(f"{free / 1e9:.1f} GB left")


def writable(case: Case) -> Finding:
    """A read-only root is fine; what is set then lives until the next start only."""
    mounts = [line.split() for line in case.host.text("proc/mounts").splitlines()]
    holding = [m for m in mounts if len(m) > 3 and f"/{STATE}/".startswith(m[1].rstrip("/") + "/")]
    if holding and "ro" in max(holding, key=lambda m: len(m[1]))[3].split(","):
        return warning(
            "the root is read-only: volume, mute and time used live in memory, until the next start",
            f"intended? then all is well; else mount a small writable partition at /{STATE}",
        )
    return ok("yes")


def memory(case: Case) -> Finding:
    """Memory that is free for use."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", case.host.text("proc/meminfo"), re.MULTILINE)
    if found and int(found[1]) < MEMORY_KB:
        return warning(f"{int(found[1]) / 1000:.0f} MB available", "stop what else runs here (the desktop?): free -m")
    return ok(f"{int(found[1]) / 1000:.0f} MB available" if found else "unknown")


def board(case: Case) -> Finding:
    """Whether the board that was chosen in setup has shown its card."""
    text = next((text for place in PLACES if (text := case.host.text(place))), "")
    chosen = [board for board in BOARDS if board.cards and MARK.format(board.name) in text.splitlines()]
    cards = Machine(case.host.root, {}).cards().values()
    for wanted in chosen:
        names = [f"{card.id} {card.name}".lower() for card in cards]
        if not any(card in name for card in wanted.cards for name in names):
            return failed(
                f"{wanted.title} is set up, and its card ({' or '.join(wanted.cards)}…) is absent",
                "reboot once; then: is it seated on all 40 pins? dmesg | grep -i snd",
            )
    return ok(", ".join(board.title for board in chosen) or "none was chosen in setup")
