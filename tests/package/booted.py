"""A Debian root that is booted: its own systemd as process 1, in namespaces of its own. No virtual machine, no nspawn.

Root, and a kernel with overlayfs and cgroup2. There is no sound card, no GPIO and no network but its own loopback; what
the unit asks of the kernel otherwise (namespaces, filters, watchdog) is real.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

BOOT = """
cd "$HOME_OF"
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$HOME_OF/upper,workdir=$HOME_OF/work" root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run -o mode=755
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev -o mode=755
mkdir dev/pts dev/shm
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"""
NAMESPACES = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child=KILL",
              "--propagation=private")  # fmt: skip
ENVIRON = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
BOOT_S = 30.0
LOOK_S = 0.02


class CannotBoot(Exception):
    """`str()` says what this machine does not allow."""


class Booted:
    """The overlay of a `Root` in `home` over `tree`, running."""

    def __init__(self, tree: Path, home: Path) -> None:
        self._environ = {"BASE": str(tree), "HOME_OF": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self._log = home / "boot.log"
        self._pause = threading.Event()

    def boot(self) -> float:
        """Seconds until systemd says that all is started. Raises `CannotBoot`."""
        began = time.monotonic()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                (*NAMESPACES, "sh", "-ec", BOOT), env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        while self._state() not in ("running", "degraded"):
            if self._process.poll() is not None or time.monotonic() - began > BOOT_S:
                raise CannotBoot(self._log.read_text()[-500:] or "systemd does not get ready")
            self._pause.wait(LOOK_S)
        return time.monotonic() - began

    def _state(self) -> str:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            self._init = int(children.read_text())
        except (OSError, ValueError):
            return ""
        return self.attempt("systemctl is-system-running").stdout.strip()

    def attempt(self, command: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A shell command inside."""
        words = ("nsenter", f"--target={self._init}", "--all", *ENVIRON, "/bin/sh", "-c", command)
        return subprocess.run(
            words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
        )

    def run(self, command: str) -> str:
        """Its output; it must succeed."""
        done = self.attempt(command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        done = subprocess.run(
            ("nsenter", f"--target={self._init}", "--all", *ENVIRON, "/bin/sh", "-ec",
             f"mkdir -p $(dirname {path}); cat >{path}"), input=text, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, as systemd knows it."""
        return self.run(f"systemctl show --value --property={name} {unit}").strip()

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID"))

    def strike(self, unit: str, number: int) -> int:
        """Send the unit's process a signal; its number."""
        pid = self.pid(unit)
        self.run(f"kill -{signal.Signals(number).name.removeprefix('SIG')} {pid}")
        return pid

    def back(self, unit: str, dead: int, patience: float) -> float:
        """Seconds until another process than `dead` has said READY."""
        began = time.monotonic()
        while self.pid(unit) in (0, dead) or self.show(unit, "ActiveState") != "active":
            assert time.monotonic() - began < patience, f"{unit} is not back: {self.show(unit, 'ActiveState')}"
            self._pause.wait(LOOK_S)
        return time.monotonic() - began

    def journal(self, unit: str) -> str:
        return self.run(f"journalctl --no-pager --quiet --unit={unit}")

    def power_cut(self) -> None:
        """Everything in it ends this moment; what was written is there at the next boot."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
