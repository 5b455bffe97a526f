"""A Debian in a virtual machine: booted, driven, unplugged and cut off by tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from wire import PATH, Agent, Monitor, Result, pause

ROOT = Path(__file__).parents[2]
SOURCE = ("device_agent", "config", "systemd", "examples", "script", "setup.cfg", "pyproject.toml", "README.md")
BOOT_S = 240
MONITOR_S = 10
SHARE = "/host"
"""Where the guest sees the folder `Guest.share`."""
ALOOP = "/sys/bus/platform/drivers/snd_aloop"


class GuestError(AssertionError):
    """A command in the guest failed."""


class Guest:
    """A virtual machine: 2 processors, emulated, about 20 times slower than this one; 512 MB.

    Cards: USB (playback only; what it plays is recorded in `usb_wav`), HDA behind a PCIe port (recording silence),
    and snd-aloop after `modprobe snd-aloop`. What the guest writes to its disk is thrown away at the end.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.suite = image.name.removeprefix("vm-")
        """The release of Debian."""
        self._folder = folder
        self.share = folder / "share"
        """A folder that both sides see; the guest as /host."""
        self.usb_wav = folder / "usb.wav"
        """What the USB card has played since it was last plugged in; outside the guest."""
        self.share.mkdir(parents=True)
        self._qemu: subprocess.Popen[bytes] | None = None
        self._agent: Agent | None = None
        self._monitor: Monitor | None = None
        self._cable = True
        disk = f"qemu-img create -q -F raw -f qcow2 -b {image / 'disk.raw'} {folder / 'overlay.qcow2'}"
        subprocess.run(disk.split(), check=True)

    # --------------------------------------------------------------------------------- power
    def boot(self, source: bool = True) -> None:
        """Switch on, and wait until systemd has started everything; lay the program's source into /opt/source."""
        self._switch_on()
        self._wait_for_agent()
        self.run("systemctl is-system-running --wait || true", timeout=BOOT_S)
        if source:
            self.put_source()

    def power_cut(self, source: bool = True) -> None:
        """Pull the plug, and boot again from what had reached the disk."""
        assert self._qemu is not None
        self._qemu.kill()
        self._hang_up()
        self.boot(source)

    def reboot(self) -> None:
        """An orderly restart of the guest."""
        old = self.boot_id()
        self.run("systemctl reboot")
        self.wait_for_boot_after(old)

    def boot_id(self) -> str:
        """Another one after each boot."""
        return self.run("cat /proc/sys/kernel/random/boot_id")

    def wait_for_boot_after(self, old: str, within: float = BOOT_S) -> None:
        """Until it has been started anew, by whomever, since it had this `boot_id`."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            self._wait_for_agent()
            try:
                if self.boot_id() != old:
                    self.run("systemctl is-system-running --wait || true", timeout=BOOT_S)
                    return
            except (OSError, EOFError, RuntimeError):
                pass  # it has just gone down
            pause(0.5)
        raise GuestError("the guest does not come up again")

    def switch_off(self) -> None:
        """End the machine; nothing of it remains but the files in its folder."""
        if self._qemu is not None:
            self._qemu.kill()
        self._hang_up()

    def _hang_up(self) -> None:
        for line in (self._agent, self._monitor):
            if line is not None:
                line.close()
        self._agent = self._monitor = None
        if self._qemu is not None:
            self._qemu.wait(30)
        self._qemu = None

    def _switch_on(self) -> None:
        for name in ("agent", "monitor"):
            (self._folder / name).unlink(missing_ok=True)
        with (self._folder / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + MONITOR_S
        while self._monitor is None:
            try:
                self._monitor = Monitor(self._folder / "monitor")
            except OSError:
                if time.monotonic() > deadline:
                    raise GuestError(f"qemu does not start: {(self._folder / 'qemu.log').read_text()}") from None
                pause(0.05)
        self.network(self._cable)  # before the guest looks

    def _command(self) -> list[str]:
        folder = self._folder
        text = f"""
            qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=256 -cpu max -smp 2 -m 512
            -nodefaults -display none -vga none -serial file:{folder}/console.log
            -kernel {self._image}/vmlinuz -initrd {self._image}/initrd.img
            -drive file={folder}/overlay.qcow2,if=none,id=disk,cache=unsafe,discard=unmap
            -device virtio-blk-pci,drive=disk
            -netdev user,id=net -device virtio-net-pci,id=nic,netdev=net
            -device virtio-serial-pci -chardev socket,id=agent,path={folder}/agent,server=on,wait=off
            -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0
            -qmp unix:{folder}/monitor,server=on,wait=off
            -virtfs local,path={self.share},mount_tag=host,security_model=none,id=host
            -object rng-random,filename=/dev/urandom,id=random -device virtio-rng-pci,rng=random
            -device i6300esb -action watchdog=reset
            -audiodev wav,id=usb,path={self.usb_wav} -audiodev none,id=nothing
            -device qemu-xhci,id=xhci -device usb-audio,id=usb,bus=xhci.0,port=1,audiodev=usb
            -device pcie-root-port,id=expressport,chassis=1
            -device intel-hda,id=hda,bus=expressport -device hda-duplex,bus=hda.0,audiodev=nothing
        """
        kernel = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr apparmor=0"
        return [*text.split(), "-append", kernel]

    def _wait_for_agent(self) -> None:
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            if self._qemu is None or self._qemu.poll() is not None:
                raise GuestError(f"qemu ended: {(self._folder / 'qemu.log').read_text()}")
            try:
                if self._agent is not None:
                    self._agent.close()
                self._agent = Agent(self._folder / "agent")
                return
            except (OSError, EOFError, ValueError):
                pause(0.3)
        raise GuestError(f"the guest does not boot: {(self._folder / 'console.log').read_text()[-2000:]}")

    # --------------------------------------------------------------------------------- commands and files
    def attempt(self, command: str, timeout: float = 60) -> Result:
        """Run a command of bash as root; however it ends."""
        assert self._agent is not None
        return self._agent.run(command, timeout)

    def run(self, command: str, timeout: float = 60) -> str:
        """Run a command of bash as root; what it wrote to stdout. GuestError if it fails."""
        result = self.attempt(command, timeout)
        if result.code:
            raise GuestError(f"in the guest: {command}: exit code {result.code}\n{result.out}\n{result.err}")
        return result.out

    def start(self, name: str, command: str, **properties: Any) -> None:
        """Run a command of bash beside the tests, as the transient unit `name` with systemd's `properties`."""
        settings = "".join(f" -p {key}={value}" for key, value in properties.items())
        self.put_text(f"{command}\n", f"/run/{name}.sh")
        self.run(
            f"systemctl reset-failed {name} 2>/dev/null; systemd-run --quiet --unit={name}{settings}"
            f" -p Environment={PATH} -p Environment=PYTHONUNBUFFERED=1 bash /run/{name}.sh"
        )

    def log(self, name: str) -> str:
        """What the unit has written since its last `start`."""
        return "".join(f"{line}\n" for _, line in self.lines(name))

    def lines(self, name: str) -> list[tuple[float, str]]:
        """The same, line by line, each with its time on the guest's monotonic clock (that of `now`)."""
        query = f"_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {name})" if name != "kernel" else "-k"
        journal = self.run(f"journalctl --sync; journalctl -o json --output-fields=MESSAGE {query}")
        entries = [json.loads(line) for line in journal.splitlines()]
        return [(int(e["__MONOTONIC_TIMESTAMP"]) / 1e6, str(e["MESSAGE"])) for e in entries]

    def now(self) -> float:
        """The guest's monotonic clock, right to 10 ms."""
        return float(self.run("cut -d' ' -f1 /proc/uptime"))

    def pid(self, name: str) -> int:
        """The main process of a unit; 0 when there is none."""
        return int(self.run(f"systemctl show -P MainPID {name}"))

    def stop(self, name: str) -> None:
        self.run(f"systemctl stop {name}")

    def wait_for(self, command: str, timeout: float = 30) -> str:
        """Repeat a command until it succeeds (every 0.1 s, in the guest); what it wrote."""
        loop = f'until out=$({command}); do sleep 0.1; done; printf %s "$out"'
        result = self.attempt(f"timeout {timeout} bash -c {_quoted(loop)}", timeout + 30)
        if result.code:
            raise GuestError(f"not within {timeout} s in the guest: {command}\n{result.err}")
        return result.out

    def put(self, file: Path, target: str) -> None:
        """Copy a file, or a folder, to `target` in the guest, replacing what is there."""
        parcel = self.share / "parcel"
        with tarfile.open(parcel, "w", dereference=True) as tar:  # one file: the shared folder is slow to open many
            tar.add(file, arcname=Path(target).name, filter=_parcelled)
        self.run(f"rm -rf {target} && mkdir -p $(dirname {target}) && tar -xf {SHARE}/parcel -C $(dirname {target})")
        parcel.unlink()

    def put_text(self, text: str, target: str) -> None:
        """Write a file in the guest."""
        file = self.share / "text"
        file.write_text(text)
        self.put(file, target)
        file.unlink()

    def put_source(self) -> None:
        """The program as it is in this work tree, for `device-agent` in the guest."""
        tree = self._folder / "source"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        for name in SOURCE:
            (tree / name).symlink_to(ROOT / name)
        self.put(tree, "/opt/source")

    def get(self, file: str) -> bytes:
        """A file of the guest."""
        self.run(f"cp {file} {SHARE}/parcel && chmod a+r {SHARE}/parcel")
        content = (self.share / "parcel").read_bytes()
        (self.share / "parcel").unlink()
        return content

    # --------------------------------------------------------------------------------- the world around
    def unplug(self, card: str) -> None:
        """Pull a card out: "usb", "hda", or "loopback" (unbound from its driver). Returns once it is being removed."""
        if card == "usb":
            self._qmp("device_del", id="usb")
            assert self._monitor is not None
            self._monitor.until("DEVICE_DELETED", "usb")
        elif card == "hda":
            self.run("echo 1 > $(echo /sys/bus/pci/drivers/snd_hda_intel/0*/remove)")
        else:
            # Beside us, because the kernel waits there until every program has let go.
            self.run(f"(echo snd_aloop.0 > {ALOOP}/unbind) >/dev/null 2>&1 &")

    def plug(self, card: str) -> None:
        """Plug a card in again."""
        if card == "usb":
            self._qmp("device_add", driver="usb-audio", id="usb", bus="xhci.0", port="1", audiodev="usb")
        elif card == "hda":
            self.run("echo 1 > /sys/bus/pci/rescan")
        else:
            self.run(f"echo snd_aloop.0 > {ALOOP}/bind")

    def network(self, up: bool) -> None:
        """Plug the network cable in or out; it stays so over a power cut."""
        self._cable = up
        self._qmp("set_link", name="nic", up=up)

    def set_clock(self, time: str) -> None:
        """Set the wall clock, as `date -s` understands it."""
        self.run(f"date -s {_quoted(time)}")

    def _qmp(self, command: str, **arguments: Any) -> None:
        assert self._monitor is not None
        self._monitor.call(command, **arguments)


def _parcelled(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return None if entry.name.endswith("__pycache__") else entry


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
