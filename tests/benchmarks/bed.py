"""The test bed: two virtual sound cards with a witness at each, the simulator, and one client between them.

Everything is measured from outside the client: by what the simulator witnessed, by what sounded at the cards, by /proc.
All times are CLOCK_MONOTONIC in seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

from device_agent.bench.virtual_audio import RATE, Microphone, Recorder, VirtualCards
from device_agent.errors import DeviceAgentError
from tests.analysis import AUDIBLE, WIRE_RATE, offset, onset, resampled
from tests.patience import until

from .server import Server

ROOT = Path(__file__).resolve().parents[2]
SDK_PROGRAM = ROOT / "tests" / "clients" / "sdk_client.py"
SDK_VERSION = "2.78.0"
TICKS = os.sysconf("SC_CLK_TCK")


def sdk_python() -> Path:
    """The interpreter of the SDK's own environment. Raises DeviceAgentError where that is missing or another SDK."""
    python = Path(os.environ.get("SDK_PYTHON", ROOT / ".venv-sdk" / "bin" / "python"))
    question = "import importlib.metadata as m; print(m.version('elevenlabs'))"
    remedy = f"{python}: no virtual environment with elevenlabs=={SDK_VERSION}; `script/test --all` makes .venv-sdk"
    try:
        found = subprocess.run((python, "-c", question), capture_output=True, text=True, timeout=30)
    except OSError as error:
        raise DeviceAgentError(remedy) from error
    if found.stdout.strip() != SDK_VERSION:
        raise DeviceAgentError(f"{remedy} (found: {found.stdout.strip() or 'none'})")
    return python


@dataclass(frozen=True, slots=True)
class Client:
    """A program that holds a conversation over its default sound cards. `settings` are ours: the SDK has none."""

    name: str
    settings: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        return self.name == "ours"

    def with_settings(self, *settings: str) -> Client:
        """Later settings win over earlier ones."""
        return Client(self.name, (*self.settings, *settings)) if self.ours else self

    def command(self, server: Server, home: Path) -> tuple[str, ...]:
        if not self.ours:
            return str(sdk_python()), str(SDK_PROGRAM), server.http_url
        config = home / "empty.toml"  # the user's own configuration is not read
        config.touch()
        program = str(Path(sys.executable).with_name("device-agent"))
        settings = ("agent.id=bench", f"server.url={server.url}", *self.settings)
        return program, "run", "--config", str(config), *(word for setting in settings for word in ("--set", setting))


OFFICIAL = Client("official")
OURS = Client("ours", ("activation.modes=always-on", "audio.echo=off", "sounds.earcons=false", "sounds.speech=false"))


@dataclass(slots=True)
class Process:
    """The client as a child process. `said` are the JSON lines that it has printed (the SDK's callbacks)."""

    popen: subprocess.Popen[str]
    started: float
    said: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, name="client", daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            if line.startswith("{"):
                self.said.append(json.loads(line))

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def stop(self, patience_s: float) -> float:
        """SIGTERM; returns the seconds until the exit, infinite (and SIGKILL) after `patience_s`."""
        began = monotonic()
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            return float("inf")
        return monotonic() - began

    def rss_mb(self) -> float:
        return int(self._status("VmRSS").split()[0]) / 1024

    def threads(self) -> int:
        return int(self._status("Threads"))

    def _status(self, name: str) -> str:
        lines = Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def cpu_s(self) -> float:
        """User and system time of all its threads."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(slots=True)
class Session:
    """One client on the bed. `speaker` and `room` record the two cards, `microphone` feeds the client's."""

    cards: VirtualCards
    speaker: Recorder
    room: Recorder
    microphone: Microphone
    server: Server
    process: Process

    def pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def connected(self) -> float:
        """When the client's first connection was made."""
        return float(self.server.wait("connected", timeout=15)["t"])

    def settled(self) -> None:
        """Waits until microphone audio flows, and 1 s more."""
        self.server.wait("audio", timeout=15)
        self.pause(1.0)

    def audible(self, since: float, timeout_s: float = 8.0) -> float:
        """When the loudspeaker first sounded after `since`. Raises DeviceAgentError where it did not."""
        position = since

        def look() -> float | None:
            nonlocal position
            heard = self.speaker.samples(since=position)
            if (found := onset(heard, AUDIBLE)) is not None:
                return position + found / RATE
            position += max(0.0, len(heard) / RATE - 0.01)
            return None

        return float(until(look, timeout_s, "nothing sounded"))

    def silent(self, since: float, patience_s: float) -> float | None:
        """When the loudspeaker last sounded after `since`, once it has been silent for 0.25 s; None if it goes on."""
        deadline = monotonic() + patience_s
        while monotonic() < deadline:
            self.pause(0.05)
            heard = self.speaker.samples(since=since)
            last = offset(heard, AUDIBLE)
            if last is None and len(heard) > RATE // 4:
                return since
            if last is not None and len(heard) - last > RATE // 4:
                return since + last / RATE
        return None

    @contextmanager
    def loopback(self, decibel: int) -> Iterator[None]:
        """What the loudspeaker plays sounds in the microphone, `decibel` (negative) softer."""
        module = self._pactl(
            "load-module", "module-loopback", f"source={self.cards.speaker}.monitor", f"sink={self.cards.microphone}",
            "latency_msec=20", "source_dont_move=1", "sink_dont_move=1",
        )  # fmt: skip
        try:
            inputs = [line.split("\t") for line in self._pactl("list", "short", "sink-inputs").splitlines()]
            mine = next(fields[0] for fields in inputs if "module-loopback.c" in fields)
            self._pactl("set-sink-input-volume", mine, f"{10 ** (decibel / 20):.3f}")  # a linear factor
            yield
        finally:
            self._pactl("unload-module", module)

    def _pactl(self, *words: str) -> str:
        environ = {**os.environ, **self.cards.environ}
        done = subprocess.run(("pactl", *words), env=environ, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    def say(self, sound: array[int]) -> float:
        """Feeds 16 kHz samples to the microphone; returns the time of the call, before the first of them sounds."""
        began = monotonic()
        self.microphone.say(resampled(sound, WIRE_RATE, RATE).tobytes())
        return began


class Bed:
    """Both cards, for the time of a `with` block; a session at a time."""

    def __init__(self) -> None:
        self.cards = VirtualCards()

    def __enter__(self) -> Bed:
        self.cards.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.cards.close()

    @contextmanager
    def session(
        self,
        client: Client,
        *options: str,
        greeting: str = "",
        script: tuple[str, ...] | None = ("All right.",),
        core: int | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Session]:
        """`options` are the simulator's. `core`: the client may run there only. The client is started last."""
        with (
            tempfile.TemporaryDirectory(prefix="device-agent-bench-") as home,
            Server("--first-message", greeting, *options, script=script) as server,
            Recorder(self.cards) as speaker,
            Recorder(self.cards, self.cards.microphone) as room,
            Microphone(self.cards) as microphone,
            (Path(home) / "complaints").open("w+") as complaints,
        ):
            prefix = ("taskset", "-c", str(core)) if core is not None else ()
            places = {**os.environ, "STATE_DIRECTORY": home, **self.cards.environ, **environ}
            started = monotonic()
            popen = subprocess.Popen(
                (*prefix, *client.command(server, Path(home))),
                env=places, stdout=subprocess.PIPE, stderr=complaints, text=True,
            )  # fmt: skip
            process = Process(popen, started)
            try:
                yield Session(self.cards, speaker, room, microphone, server, process)
            except DeviceAgentError as error:
                said = (Path(home) / "complaints").read_text(errors="replace").splitlines()[-3:]
                raise DeviceAgentError(f"{error}; exit code {popen.poll()}; the client's last words: {said}") from error
            finally:
                if process.alive:
                    process.stop(3.0)
