"""What this machine knows of its sound cards without PortAudio: which there are, what they are, who uses them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^ *(\d+) \[(.+?) *\]: (\S+) - (.*)$", re.MULTILINE)
_USB_DEVICE = re.compile(r"\d+-\d+(?:\.\d+)*")
_VIDEO = "0e"  # the class of a USB interface
_CAMERA = re.compile(r"cam\b|camera|webcam|\bvideo", re.IGNORECASE)
_HDMI = re.compile(r"hdmi|displayport", re.IGNORECASE)
_VIRTUAL = ("Loopback", "Dummy")


@dataclass(frozen=True, slots=True)
class Hardware:
    """A sound card. `number` is another one after the next boot; the rest stays."""

    number: int
    id: str
    name: str
    driver: str = ""
    usb_path: str = ""
    usb_id: str = ""
    camera: bool = False

    @property
    def last_resort(self) -> str:
        """Why nobody would choose this card without being asked; "" for a proper one."""
        if self.camera or _CAMERA.search(self.name):
            return "a camera's microphone"
        return "an HDMI output" if _HDMI.search(f"{self.id} {self.name}") else ""

    @property
    def virtual(self) -> bool:
        """Whether nothing is attached to it."""
        return self.driver in _VIRTUAL


class Machine:
    """Sound cards and sound servers of this machine; all that is here is cheap. A test gives a `root` of its own."""

    def __init__(self, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> None:
        self._root = root
        self._environ = environ
        self._proc = root / "proc"
        self._asound = root / "proc/asound"

    def surroundings(self) -> tuple[str, ...]:
        """The cards, then each place of a sound server: what differs when one has come or gone."""
        named = [self._environ[name] for name in ("PULSE_SERVER", "PIPEWIRE_REMOTE") if self._environ.get(name)]
        return self.listing(), *named, *self._sockets(named)

    def alsa_is_configured(self) -> bool:
        """Whether somebody has written an ALSA configuration for this machine or this user."""
        home = Path(self._environ.get("HOME") or "/")
        config = Path(self._environ.get("XDG_CONFIG_HOME") or home / ".config")
        places = (self._root / "etc/asound.conf", home / ".asoundrc", config / "alsa/asoundrc")
        return "ALSA_CONFIG_PATH" in self._environ or any(place.exists() for place in places)

    def listing(self) -> str:
        """All cards, as text that differs whenever one comes or goes; "" on a machine without sound drivers."""
        try:
            return (self._asound / "cards").read_text(errors="replace")
        except OSError:
            return ""

    def cards(self) -> dict[int, Hardware]:
        """All cards by their number."""
        return {int(found[1]): self._card(found) for found in _LINE.finditer(self.listing())}

    def present(self, number: int) -> bool:
        """Whether the card with this number is still there; cheap."""
        return (self._asound / f"card{number}").exists()

    def has(self, number: int, output: bool) -> bool:
        """Whether the card can play (or record) at all."""
        return any((self._asound / f"card{number}").glob(f"pcm*{'p' if output else 'c'}"))

    def obstacle(self, number: int, output: bool) -> str:
        """Why none of the card's devices can be opened, with the remedy; "" if one can."""
        direction = "p" if output else "c"
        if not self.has(number, output):
            return f"has no {'output' if output else 'input'}: choose another one"
        devices = sorted((self._asound / f"card{number}").glob(f"pcm*{direction}"))
        owners = [self._owner(device) for device in devices]
        if all(owners):
            return f"is in use by {owners[0]}: close that program"
        nodes = [self._root / f"dev/snd/pcmC{number}D{device.name[3:-1]}{direction}" for device in devices]
        if not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
            return "may not be opened by this user: sudo usermod -aG audio $USER, then log in again"
        return ""

    def _sockets(self, named: Iterable[str]) -> Iterator[str]:
        runtime = Path(self._environ.get("XDG_RUNTIME_DIR") or self._root / f"run/user/{os.getuid()}")
        places = [runtime / "pulse/native", runtime / "pipewire-0", self._root / "run/pulse/native"]
        places += [Path(name.removeprefix("unix:")) for name in named if "/" in name]
        for place in places:
            with contextlib.suppress(OSError):
                state = place.stat()
                yield f"{place} {state.st_ino} {state.st_ctime_ns}"

    def _card(self, found: re.Match[str]) -> Hardware:
        number, id, driver, name = int(found[1]), found[2], found[3], found[4]
        usb = self._usb_device(number)
        if usb is None:
            return Hardware(number, id, name, driver)
        usb_id = _text(self._asound / f"card{number}" / "usbid").lower()
        classes = (_text(interface / "bInterfaceClass") for interface in usb.glob(f"{usb.name}:*"))
        return Hardware(number, id, name, driver, usb.name, usb_id, _VIDEO in classes)

    def _usb_device(self, number: int) -> Path | None:
        """The device that the card is a part of, e.g. …/usb1/1-1/1-1.2; None for a card that is not on USB."""
        path = (self._root / f"sys/class/sound/card{number}" / "device").resolve()
        return next((place for place in (path, *path.parents) if _USB_DEVICE.fullmatch(place.name)), None)

    def _owner(self, device: Path) -> str:
        """The program that holds a PCM device; "" if one of its subdevices is free."""
        owner = ""
        for state in _states(device):
            if not state.startswith("closed"):
                owner = owner or self._program(state)
            else:
                return ""
        return owner

    def _program(self, state: str) -> str:
        found = re.search(r"owner_pid *: (\d+)", state)
        if found is None:
            return "another program"
        thread = self._proc / found[1]
        process = re.search(r"^Tgid:\s*(\d+)", _text(thread / "status"), re.MULTILINE)
        pid = process[1] if process else found[1]
        name = _text(self._proc / pid / "comm")
        return f"{name} (process {pid})" if name else f"process {pid}"


def _states(device: Path) -> Iterator[str]:
    return (_text(sub / "status") for sub in sorted(device.glob("sub*")))


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
