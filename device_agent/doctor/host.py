"""The machine as the doctor sees it. A test gives a fake root, its own answers of commands, and its own resolver."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_agent.config.load import Loaded
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.errors import DeviceAgentError, PermissionDenied
from device_agent.link.dial import Address, resolve
from device_agent.records import record

COMMAND_S = 10.0
NOT_FOUND = 127


@record
class Output:
    """How a command ended, and what it wrote to stdout, or where it failed to stderr."""

    code: int
    text: str


@record
class Recording:
    """What a microphone gave: mono s16le at `rate` Hz, and the card's name."""

    card: str
    rate: int
    pcm: bytes


def run_command(command: Sequence[str]) -> Output:
    """Run it for at most 10 s; code 127 where there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return Output(NOT_FOUND, "")
    except (OSError, subprocess.SubprocessError) as error:
        return Output(1, str(error))
    return Output(done.returncode, (done.stderr if done.returncode else done.stdout).strip())


def installed(name: str) -> str:
    """The version of a Python distribution, "?" of a module without one, "" if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        return "?" if importlib.util.find_spec(name.replace("-", "_")) else ""
    except ModuleNotFoundError:  # of a package that is not there either
        return ""


def speexdsp() -> bool:
    """Whether the resampler's library is there."""
    from device_agent.runtime.speexdsp import available

    return available()


def record_sound(settings: Settings) -> Recording:
    """One second from the configured microphone. Raises `AudioError`."""
    from device_agent.doctor.microphone import record_second

    return record_second(settings.audio)


def open_loudspeaker(settings: Settings) -> str:
    """Open the configured loudspeaker for a moment; its name and rate. Raises `AudioError`."""
    from device_agent.doctor.microphone import try_loudspeaker

    return try_loudspeaker(settings.audio)


def device_status(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """What the device that runs here says of itself. Raises `DeviceAgentError` where none does."""
    from device_agent.control.client import Client, find

    with Client(find(environ)) as client:
        return client.ask("status")


@dataclass(frozen=True, slots=True)
class Host:
    """All that the checks ask of the world."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    paths: Paths | None = None
    sets: Sequence[str] = ()
    run: Callable[[Sequence[str]], Output] = run_command
    installed: Callable[[str], str] = installed
    speexdsp: Callable[[], bool] = speexdsp
    python: tuple[int, int] = sys.version_info[:2]
    now: Callable[[], float] = time.time
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    may_use: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK)
    resolve: Callable[[str, int], Sequence[Address]] = resolve
    record_sound: Callable[[Settings], Recording] = record_sound
    open_loudspeaker: Callable[[Settings], str] = open_loudspeaker
    device_status: Callable[[Mapping[str, str]], Mapping[str, Any]] = device_status

    def text(self, path: str) -> str:
        """The content of a file below the root, "" if it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return ""

    def place(self, path: str) -> Path:
        """A path below the root."""
        return self.root / path.lstrip("/")


@dataclass(slots=True)
class Case:
    """One examination: the machine, and what earlier checks found out for later ones."""

    host: Host
    loaded: Loaded | None = None
    secrets: Secrets = field(default_factory=Secrets)
    addresses: Sequence[Address] = ()
    url: Any = None
    """Where the conversation is: a secret."""
    formats: Sequence[str] = ()
    agent: Mapping[str, Any] | str | None = None
    """The agent's own settings, or why they cannot be had; None before anybody has asked."""
    recording: Recording | None = None
    status: Mapping[str, Any] | None = None
    """What the running device says of itself."""
    refused: str = ""
    """Why a running device may not be asked by this user."""

    def device(self) -> Mapping[str, Any] | None:
        """What the running device says of itself; None where none runs, or where it may not be asked: see `refused`."""
        if self.status is None and not self.refused:
            try:
                self.status = self.host.device_status(self.host.environ)
            except PermissionDenied as error:
                self.refused = f"a device runs, and this user may not ask it: {error}"
            except DeviceAgentError:
                pass
        return self.status

    @property
    def settings(self) -> Settings:
        """What is configured; the defaults before `config.valid`."""
        return self.loaded.settings if self.loaded else Settings()
