"""Stand-ins that the tests of several modules share."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path


class FakeClock:
    """A monotonic clock that stands still until a test moves it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Rendezvous:
    """A point that a thread reaches and waits at until the test lets it go on."""

    def __init__(self, patience_s: float = 5.0) -> None:
        self._patience_s = patience_s
        self._arrived = threading.Event()
        self._leave = threading.Event()

    def arrive(self) -> None:
        """Called by the thread under test: waits for `release`."""
        self._arrived.set()
        assert self._leave.wait(self._patience_s), "the test did not release the thread"

    def reached(self) -> bool:
        """Called by the test: waits until the thread is there."""
        return self._arrived.wait(self._patience_s)

    def release(self) -> None:
        """Called by the test: the thread goes on."""
        self._leave.set()


class FakeCards:
    """A machine's /proc, /sys and /dev as far as sound is concerned, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listing = root / "proc/asound/cards"
        self._listing.parent.mkdir(parents=True)
        self._cards: dict[int, str] = {}
        self._list()

    def plug(
        self,
        number: int,
        id: str,
        name: str,
        driver: str = "USB-Audio",
        usb: str = "",
        usb_id: str = "",
        pcm: str = "pc",
        video: bool = False,
    ) -> None:
        """A card comes: `usb` is its path (1-1.2), `pcm` its directions."""
        self._cards[number] = f"{number:2} [{id:<15}]: {driver} - {name}\n                      {name} somewhere\n"
        card = self.root / f"proc/asound/card{number}"
        for direction in pcm:
            self.hold(number, direction, None)
            node = self.root / f"dev/snd/pcmC{number}D0{direction}"
            node.parent.mkdir(parents=True, exist_ok=True)
            node.touch()
        device = self.root / (f"sys/devices/usb1/{usb}/{usb}:1.0" if usb else f"sys/devices/platform/card{number}")
        device.mkdir(parents=True, exist_ok=True)
        if usb:
            (card / "usbid").write_text(f"{usb_id}\n")
            (device / "bInterfaceClass").write_text("0e\n" if video else "01\n")
        link = self.root / f"sys/class/sound/card{number}/device"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(device)
        self._list()

    def unplug(self, number: int) -> None:
        """It goes."""
        del self._cards[number]
        shutil.rmtree(self.root / f"proc/asound/card{number}")
        self._list()

    def hold(self, number: int, direction: str, pid: int | None, name: str = "arecord") -> None:
        """Another program uses it; None: nobody does."""
        status = self.root / f"proc/asound/card{number}/pcm0{direction}/sub0/status"
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text(f"state: RUNNING\nowner_pid   : {pid}\n" if pid else "closed\n")
        if pid:
            process = self.root / f"proc/{pid}"
            process.mkdir(exist_ok=True)
            (process / "comm").write_text(f"{name}\n")
            (process / "status").write_text(f"Name:\t{name}\nTgid:\t{pid}\n")

    def _list(self) -> None:
        self._listing.write_text("".join(self._cards.values()) or "--- no soundcards ---\n")
