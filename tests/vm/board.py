"""What a board has, for the service in the virtual machine: pins, a button, an LED and cards."""

from __future__ import annotations

from guest import Guest

BUTTON, LED = 17, 18
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


def press(guest: Guest) -> None:
    """Pull the button's line down, and let go; as soon as the program has it: ready comes a little before its pins."""
    guest.wait_for(f"gpioinfo | grep -E 'line +{BUTTON}:.*[^n]used'", timeout=CLAIMED_S)
    pull = f"/run/pins/sim_gpio{BUTTON}/pull"
    guest.run(f"echo pull-down >{pull}; sleep 0.3; echo pull-up >{pull}")
