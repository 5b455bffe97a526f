"""What a board has, for the service in the virtual machine: pins, a button, an LED and cards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from guest import ROOT, Guest

BUTTON, LED = 17, 18
READY_S = 60  # the machine is emulated, about 20 times slower than this one
CLAIMED_S = 60
SOUND_AND_PINS = f"""
[activation]
modes = ["toggle"]
[audio]
input = "id:Loopback,1"
output = "USB"
echo = "off"
[panel]
backend = "gpio"
button_pin = {BUTTON}
led_pin = {LED}
"""
# Pins and a card that can record are there before the service starts, as on a real board.
PINS = f"""[Unit]
Before=device-agent.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -ec 'modprobe snd-aloop; modprobe gpio-sim; cd /sys/kernel/config/gpio-sim; mkdir -p chip/bank; \\
  echo 28 >chip/bank/num_lines; echo 1 >chip/live; name=$(cat chip/bank/chip_name); \\
  ln -sfn /sys/devices/platform/$(cat chip/dev_name)/$name /run/pins; echo pull-up >/run/pins/sim_gpio{BUTTON}/pull; \\
  udevadm settle; chgrp gpio /dev/$name; chmod 660 /dev/$name'
[Install]
WantedBy=multi-user.target
"""
# The virtual machine is no Raspberry Pi: gpiozero is told a board's revision, as the bed's other tests do.
DROPIN = """[Service]
BindReadOnlyPaths=/etc/cpuinfo.pi:/proc/cpuinfo
TimeoutStartSec=120
"""
SOURCE = """ExecStart=
ExecStart=/opt/venv/bin/device-agent run
Environment=PYTHONDONTWRITEBYTECODE=1
"""
# As any other program would; to start the program itself takes seconds here.
ASK = """import socket, sys
with socket.socket(socket.AF_UNIX) as device:
    device.connect("/run/device-agent/control.sock")
    device.sendall(sys.argv[1].encode() + b"\\n")
    print(device.makefile().readline())
"""
CONFIG = f"""
[agent]
id = "agent_1"
[server]
url = "ws://127.0.0.1:8765"
{SOUND_AND_PINS}"""


@contextmanager
def serving(guest: Guest, more: str = "") -> Iterator[Guest]:
    """The shipped unit in its sandbox on this board, with the program as it is here, and a local agent."""
    guest.put(ROOT / "systemd" / "device-agent.service", "/etc/systemd/system/device-agent.service")
    guest.put(ROOT / "systemd" / "sysusers.d" / "device-agent.conf", "/etc/sysusers.d/device-agent.conf")
    guest.put_text(DROPIN + SOURCE, "/etc/systemd/system/device-agent.service.d/bench.conf")
    guest.put_text(PINS, "/etc/systemd/system/bench-pins.service")
    guest.put_text(CONFIG + more, "/etc/device-agent/config.toml")
    guest.run("(cat /proc/cpuinfo; echo; echo Revision : c03112) >/etc/cpuinfo.pi; systemd-sysusers")
    guest.run(
        "systemctl daemon-reload; systemctl enable --quiet device-agent; systemctl enable --quiet --now bench-pins"
    )
    simulator(guest)
    guest.run("systemctl start device-agent", timeout=READY_S + 60)
    try:
        yield guest
    finally:
        guest.run("systemctl disable --quiet --now device-agent bench-pins; systemctl stop simulator")
        guest.run("rm -rf /etc/device-agent; cd /sys/kernel/config/gpio-sim/chip; [ $(<live) = 0 ] || echo 0 >live")


def simulator(guest: Guest) -> None:
    guest.run("rm -f /run/events")
    guest.start("simulator", "device-agent bench simulate --port 8765 --events /run/events --first-message Hello.")
    guest.wait_for("ss -tln | grep :8765", timeout=2 * READY_S)


def asking(do: str, **fields: Any) -> str:
    """The command that asks or orders on the control socket, and prints the answer."""
    return f"python3 -I -S -c '{ASK}' '{json.dumps({'do': do, **fields})}'"


def press(guest: Guest) -> None:
    """Pull the button's line down, and let go; as soon as the program has it: ready comes a little before its pins."""
    guest.wait_for(f"gpioinfo | grep -E 'line +{BUTTON}:.*([^n]used|consumer=)'", timeout=CLAIMED_S)
    pull = f"/run/pins/sim_gpio{BUTTON}/pull"
    guest.run(f"echo pull-down >{pull}; sleep 0.3; echo pull-up >{pull}")
