"""The bed itself: what other tests of this tier rely on."""

from __future__ import annotations

import time

import pytest
from guest import Guest, GuestError


def cards(guest: Guest) -> str:
    return guest.run("cat /proc/asound/cards")


def test_it_boots_with_systemd_and_the_program(guest: Guest) -> None:
    """systemd is up with nothing failed, and the program of this work tree runs."""
    assert guest.attempt("systemctl is-system-running").out.strip() == "running", guest.run("systemctl --failed")
    assert "device-agent" in guest.run("device-agent --version")


def test_a_command_that_fails_says_so(guest: Guest) -> None:
    """An exit code, stdout and stderr come back; a command that hangs is given up."""
    with pytest.raises(GuestError, match="exit code 3\nout\n\nerr"):
        guest.run("echo out; echo err >&2; exit 3")
    with pytest.raises(TimeoutError):
        guest.run("exec sleep 3", timeout=1)


def test_a_usb_card_unplugs_and_comes_back(guest: Guest) -> None:
    """The kernel's own driver sees it go and return."""
    assert "USB-Audio" in cards(guest)
    guest.unplug("usb")
    guest.wait_for("! grep USB-Audio /proc/asound/cards", timeout=10)
    guest.plug("usb")
    guest.wait_for("grep USB-Audio /proc/asound/cards", timeout=10)


def test_a_pci_card_unplugs_and_comes_back(guest: Guest) -> None:
    """The card behind the PCIe port is removed from the bus, and found again."""
    assert "HDA-Intel" in cards(guest)
    guest.unplug("hda")
    guest.wait_for("! grep HDA-Intel /proc/asound/cards", timeout=10)
    guest.plug("hda")
    guest.wait_for("grep HDA-Intel /proc/asound/cards", timeout=10)


def test_a_loopback_card_unplugs_and_comes_back(guest: Guest) -> None:
    """The card that can record loses its driver, and gets it again."""
    guest.run("modprobe snd-aloop")
    guest.unplug("loopback")
    guest.wait_for("! grep Loopback /proc/asound/cards", timeout=10)
    guest.plug("loopback")
    guest.wait_for("grep Loopback /proc/asound/cards", timeout=10)
    guest.run("modprobe -r snd-aloop")


def test_pins_can_be_pulled_from_outside(guest: Guest) -> None:
    """The simulated GPIO chip appears, and a line of it reads what the test puts there."""
    guest.run(
        "modprobe gpio-sim && cd /sys/kernel/config/gpio-sim && mkdir -p chip/bank/line4 "
        "&& echo 8 >chip/bank/num_lines && echo 1 >chip/live"
    )
    name = guest.run("cat /sys/kernel/config/gpio-sim/chip/bank/chip_name").strip()
    pull = f"/sys/devices/platform/$(cat /sys/kernel/config/gpio-sim/chip/dev_name)/{name}/sim_gpio4/pull"
    for value, state in (("pull-up", "1"), ("pull-down", "0")):
        guest.run(f"echo {value} >{pull}")
        # Debian 13's has other arguments.
        assert guest.run(f"gpioget {name} 4 2>/dev/null || gpioget --numeric --chip {name} 4").strip() == state
    guest.run("cd /sys/kernel/config/gpio-sim && echo 0 >chip/live && rmdir chip/bank/line4 chip/bank chip")


def test_the_network_and_the_clock_can_fail(guest: Guest) -> None:
    """The cable can be pulled without losing the guest, and the clock set."""
    nic = "$(ls /sys/class/net | grep ^en)"
    guest.network(False)
    guest.wait_for(f"[ $(cat /sys/class/net/{nic}/carrier) = 0 ]", timeout=10)
    guest.network(True)
    guest.wait_for(f"[ $(cat /sys/class/net/{nic}/carrier) = 1 ]", timeout=10)
    guest.set_clock("2031-01-01 12:00:00")
    assert guest.run("date +%Y").strip() == "2031"
    guest.set_clock(f"@{time.time():.0f}")


def test_a_power_cut_keeps_what_reached_the_disk(guest: Guest) -> None:
    """After a cut the guest boots again: a synced file is there, /run is empty."""
    guest.run("echo kept >/var/lib/kept && sync && touch /run/lost")
    guest.power_cut()
    assert guest.run("cat /var/lib/kept; ls /run/lost 2>/dev/null || true") == "kept\n"
