"""The Debian package on a machine that boots: installed with apt, run by its own unit in its own sandbox.

All share one booted machine, in the order of this file; the power cut at its end is the only other boot. The agent
is a simulator outside, behind TLS. The machine is emulated, some twenty times slower than this one: times that it
takes are printed, not judged. That takes a quarter of an hour: `script/test-vm bookworm -m slow` runs it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from board import DROPIN, LED, PINS, READY_S, SOUND_AND_PINS, asking, press
from door import Door
from guest import Guest
from packaged import packaged
from wire import pause

from device_agent.bench.authority import Authority
from device_agent.bench.demo import Simulator

pytestmark = pytest.mark.slow
UNIT = "device-agent"
PROGRAM = "/usr/bin/device-agent"
BAD = "/etc/device-agent/conf.d/99-bad.toml"
KEY_FILE = "/run/key"
CREDENTIAL = "/etc/credstore.encrypted/elevenlabs-api-key"
RESCUE = "/etc/device-agent/conf.d/60-rescue.toml"
HOST = "agent.test"
CONFIG = f"""
[server]
url = "wss://{HOST}:%d"
ca_file = "/etc/device-agent/ca.pem"
{SOUND_AND_PINS}"""
KEY = "sk_only_this_machine_0123456789"
STACK = re.compile(r"^ *File \"|^(Current t|T)hread 0x")


@dataclass
class Service:
    """The machine with the package, and the agent that it talks with."""

    guest: Guest
    agent: Simulator

    def says(self, text: str, timeout: float = READY_S) -> str:
        """Wait until systemd was told this; the whole line."""
        return self.guest.wait_for(f"systemctl show -P StatusText {UNIT} | grep -E '{text}'", timeout).strip()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask or order on its control socket."""
        found: dict[str, Any] = json.loads(self.guest.run(asking(do, **fields), timeout=READY_S))
        return found

    def lit(self) -> None:
        """The LED's line is high: steadily, or in its rhythm."""
        self.guest.wait_for(f"grep 1 /run/pins/sim_gpio{LED}/value", timeout=READY_S)

    def talk(self) -> None:
        """A press of the button opens a conversation: the agent hears the microphone, the light shows it."""
        began = time.monotonic()
        press(self.guest)
        self.hears(began)
        self.lit()

    def hears(self, since: float) -> None:
        """Wait until the agent got audio of a connection that began after `since`."""
        connected = self.agent.wait("connected", since=since, timeout=READY_S)
        self.agent.wait("audio", since=connected["t"], timeout=READY_S)

    def hang_up(self) -> None:
        began = time.monotonic()
        press(self.guest)
        self.agent.wait("closed", since=began, timeout=READY_S)
        self.says("^(idle|no-)")

    def written(self) -> int:
        """What the service has had written to any disk so far, by the kernel's own account."""
        return int(self.guest.run(f"sed -n 's/^write_bytes: //p' /proc/{self.guest.pid(UNIT)}/io"))

    def lines(self) -> int:
        """What it has said, without the stacks that it shows where this slow machine keeps a thread for seconds."""
        return sum(not STACK.search(line) for _, line in self.guest.lines(UNIT))


@pytest.fixture(scope="module")
def installed(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The package, a bench around it, and a configuration that is wrong from the first start on."""
    home = tmp_path_factory.mktemp("agent")
    authority = Authority(home)
    with Simulator(home / "heard.wav", "--first-message", "Hello.", "--require-key", KEY) as agent:
        port = int(agent.url.rpartition(":")[2])
        door = Door(authority.server(authority.certificate("server", HOST)), port)
        guest.put(packaged(guest.suite), "/run/device-agent.deb")
        guest.run("DEBIAN_FRONTEND=noninteractive apt-get --yes install /run/device-agent.deb", timeout=300)
        guest.put(authority.ca_file, "/etc/device-agent/ca.pem")
        guest.put_text(CONFIG % door.port, "/etc/device-agent/conf.d/10-bench.toml")
        guest.put_text("[audio]\nvolumee = 3\n", BAD)
        guest.put_text(DROPIN, f"/etc/systemd/system/{UNIT}.service.d/bench.conf")
        guest.put_text(PINS, "/etc/systemd/system/bench-pins.service")
        guest.run(
            "(cat /proc/cpuinfo; echo; echo Revision : c03112) >/etc/cpuinfo.pi; systemctl daemon-reload;"
            f"echo 10.0.2.2 {HOST} >>/etc/hosts; chmod a+r /etc/device-agent/ca.pem /etc/device-agent/conf.d/*;"
            "systemctl enable --quiet --now bench-pins"
        )
        guest.run(f"systemctl start {UNIT}", timeout=2 * READY_S)
        yield Service(guest, agent)
        door.close()
        guest.attempt(f"systemctl disable --quiet --now {UNIT} bench-pins; dpkg --purge device-agent", 4 * READY_S)


@pytest.fixture(scope="module")
def service(installed: Service) -> Service:
    """Its configuration is mended, and `device-agent setup` has made it a service of this machine."""
    guest = installed.guest
    guest.run(f"rm -f {BAD}")
    guest.put_text(KEY, KEY_FILE)  # not in a command: qemu's agent writes those to the journal
    guest.run(f"{PROGRAM} setup --agent-id agent_1 --no-audio <{KEY_FILE}", timeout=2 * READY_S)
    installed.says("^idle")
    return installed


def test_without_any_good_configuration_it_shows_and_says_what_is_wrong(installed: Service) -> None:
    """On its pins, its socket and to systemd; once the file is mended it comes up by itself."""
    installed.says("^config-error: .*99-bad.toml:2.*volumee")
    shown = installed.ask("status")
    assert shown["state"] == "config-error"
    assert "99-bad.toml:2" in shown["configuration"]
    installed.lit()
    before = installed.guest.pid(UNIT)
    installed.guest.run(f"rm {BAD}")
    installed.says("^idle")
    assert installed.guest.pid(UNIT) != before


def test_setup_has_made_it_a_service(service: Service) -> None:
    """Two commands on a fresh Debian, apt and setup: it runs, and starts at boot."""
    assert service.guest.run(f"systemctl is-active {UNIT}; systemctl is-enabled {UNIT}") == "active\nenabled\n"


def test_its_key_is_encrypted_for_this_machine(service: Service) -> None:
    """The agent admits nobody without it, and nowhere can it be read. Sabotage: with another one it is refused."""
    guest = service.guest
    assert guest.run(f"stat -c %a {CREDENTIAL}; systemd-creds decrypt {CREDENTIAL} -") == f"600\n{KEY}"
    assert guest.attempt(f"grep -rlf {KEY_FILE} /etc /var /root /usr/local").code == 1
    service.talk()
    service.hang_up()
    began = time.monotonic()
    other = f"printf sk_another | systemd-creds encrypt --name=elevenlabs-api-key - {CREDENTIAL}"
    guest.run(f"mv {CREDENTIAL} /run/right; {other}; systemctl restart {UNIT}", timeout=2 * READY_S)
    press(guest)
    service.says("^error: .*key")
    assert service.agent.of_kind("connected", since=began) == []
    guest.run(f"mv /run/right {CREDENTIAL}; systemctl restart {UNIT}", timeout=2 * READY_S)
    service.says("^idle")


def test_the_button_opens_a_conversation_and_nothing_is_written(service: Service) -> None:
    """Inside the shipped sandbox: pins in and out, both cards; 0 bytes to the disk and few lines to the journal."""
    guest = service.guest
    size, bytes_before, lines_before = guest.usb_wav.stat().st_size, service.written(), service.lines()
    service.talk()
    pause(3)
    assert guest.usb_wav.stat().st_size > size
    assert service.written() == bytes_before
    service.hang_up()
    assert service.lines() - lines_before <= 30
    pause(3)  # one write at the end of a conversation: the time used
    bytes_before, lines_before = service.written(), service.lines()
    pause(3)
    assert (service.written(), service.lines()) == (bytes_before, lines_before)


def test_the_doctor_is_content_inside_the_sandbox(service: Service) -> None:
    """The service's user, groups, devices and filters, while the service runs: no complaint of sound, pins, service."""
    done = service.guest.attempt(f"{PROGRAM} doctor --as-service --json", timeout=120)
    found = {check["id"]: check for check in json.loads(done.out)["checks"]}
    bad = [check for check in found.values() if check["status"] in ("failed", "warning")]
    assert {check["id"] for check in bad} <= {"clock.synchronised", "memory.available", "network.tcp"}, bad
    assert found["gpio.rights"]["evidence"] == "may be used" and found["audio.rights"]["status"] == "ok"


def test_both_cards_may_be_unplugged_in_a_conversation(service: Service) -> None:
    """The loudspeaker, then the microphone: each is a state, and each is taken again when it is back."""
    guest = service.guest
    service.talk()
    guest.unplug("usb")
    service.says("^no-loudspeaker")
    guest.plug("usb")
    service.says("^listening")
    guest.unplug("loopback")
    service.says("^no-microphone")
    guest.plug("loopback")
    service.says("^listening")
    assert len(service.agent.of_kind("connected")) == len(service.agent.of_kind("closed")) + 1
    service.hang_up()


def test_a_frozen_process_is_killed_and_talks_again(service: Service) -> None:
    """SIGSTOP: the watchdog ends it, systemd starts it, a press of the button opens a conversation."""
    guest = service.guest
    pid, began = guest.pid(UNIT), guest.now()
    guest.run(f"kill -STOP {pid}")
    guest.wait_for(
        f"p=$(systemctl show -P MainPID {UNIT}); [ $p -ne 0 ] && [ $p -ne {pid} ] && systemctl -q is-active {UNIT}",
        timeout=2 * READY_S,
    )
    up = guest.now() - began
    service.talk()
    print(f"frozen → ready {up:.0f} s → talking {guest.now() - began:.0f} s, on the emulated machine")
    service.hang_up()


def test_a_clock_years_in_the_past_is_waited_for(service: Service) -> None:
    """No certificate is valid yet: that is said, and once the clock is set it connects by itself."""
    service.guest.set_clock("2020-01-01 12:00:00")
    try:
        press(service.guest)
        service.guest.wait_for(f"{asking('status')} | grep 'the clock is wrong'", timeout=READY_S)
    finally:
        set_at = time.monotonic()
        service.guest.set_clock(f"@{time.time():.0f}")
    service.hears(set_at)
    print(f"clock set → in conversation {time.monotonic() - set_at:.0f} s, on the emulated machine")
    service.hang_up()


def test_a_cable_that_comes_back_brings_the_conversation_back(service: Service) -> None:
    """Ethernet down and up in the middle of a conversation."""
    service.talk()
    service.guest.network(False)
    try:
        service.says("^offline")
    finally:
        back = time.monotonic()
        service.guest.network(True)
    service.hears(back)
    print(f"cable back → in conversation {time.monotonic() - back:.0f} s with DHCP, on the emulated machine")
    service.hang_up()


def test_on_a_read_only_root_state_lives_in_memory(service: Service) -> None:
    """It starts and talks, keeps a volume while it runs, has nothing written, and the doctor says how it is."""
    guest = service.guest
    guest.run(f"systemctl stop {UNIT}; journalctl --relinquish-var; sync; mount -o remount,ro /", timeout=READY_S)
    try:
        guest.run(f"systemctl start {UNIT}", timeout=READY_S)
        service.says("^idle")
        service.ask("volume", level=40)
        service.talk()
        service.hang_up()
        assert service.ask("status")["volume"] == 40
        assert service.written() == 0
        report = json.loads(guest.attempt(f"{PROGRAM} doctor disk --json", timeout=2 * READY_S).out)
        root = next(check for check in report["checks"] if check["id"] == "disk.writable")
        assert (root["status"], "read-only" in root["evidence"]) == ("warning", True)
    finally:
        guest.run("mount -o remount,rw /; journalctl --flush")


def test_the_last_rung_starts_the_machine_anew_once(service: Service) -> None:
    """Long without a microphone: the order, the reboot by the shipped units, and it talks. At once again: refused.

    It also waits for a voice: only then is the microphone missed while nobody talks.
    """
    guest = service.guest
    waiting = '[activation]\nmodes = ["toggle", "voice"]\n'
    guest.put_text(f"[rescue]\nreboot_after_h = 0.02\n{waiting}", RESCUE)
    guest.run(f"chmod a+r {RESCUE}; systemctl enable --quiet --now device-agent-reboot.path")
    guest.run(f"systemctl restart {UNIT}", timeout=2 * READY_S)
    before = guest.boot_id()
    guest.unplug("loopback")
    service.says("^no-microphone")
    guest.wait_for_boot_after(before, within=8 * READY_S)
    service.says("^idle")
    service.talk()
    service.hang_up()
    again = guest.boot_id()
    guest.unplug("loopback")
    guest.wait_for(f"journalctl -b -u {UNIT} | grep 'reboot.refused.*did not help lately'", timeout=4 * READY_S)
    assert guest.boot_id() == again
    guest.plug("loopback")
    guest.run(
        f"rm {RESCUE}; systemctl disable --quiet --now device-agent-reboot.path; systemctl restart {UNIT}", READY_S
    )
    service.says("^idle")


def test_a_power_cut_a_bad_file_and_no_network_leave_a_device_that_talks(service: Service) -> None:
    """It starts at boot, muted as before, on the last good configuration; status and doctor name file and key.

    What was synced is there and /run is empty: the cut was one. Without a cable it is ready all the same, and talks
    as soon as there is one.
    """
    guest = service.guest
    service.ask("mute", muted=True)
    service.says("^muted")
    guest.put_text("[audio]\nvolumee = 3\n", BAD)
    guest.run(f"chmod a+r {BAD}; touch /run/lost; sync")
    guest.network(False)
    try:
        guest.power_cut(source=False)
        service.says("^muted")
        assert guest.run(f"cat /sys/class/net/en*/carrier; ls {BAD}; ls /run/lost || true") == f"0\n{BAD}\n"
        shown = service.ask("status")
        assert shown["muted"] is True
        assert "99-bad.toml:2" in shown["configuration"] and "volumee" in shown["configuration"]
        done = guest.attempt(f"{PROGRAM} doctor config", timeout=2 * READY_S)
        assert done.code == 1 and "99-bad.toml:2" in done.out and "volumee" in done.out
    finally:
        guest.network(True)
    guest.run(f"rm -f {BAD}")
    service.ask("mute", muted=False)
    guest.wait_for("ip -4 route | grep default")
    service.talk()
    service.hang_up()
