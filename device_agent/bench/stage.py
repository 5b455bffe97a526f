"""Where a drill is held: the real program against our simulator, started again when it dies, and who watches it."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from device_agent.bench.demo import PROGRAM, Simulator, running
from device_agent.bench.proxy import Proxy
from device_agent.bench.virtual_audio import VirtualCards
from device_agent.config.render import effective
from device_agent.config.schema import Activation, Agent, Server, Session, Settings, Tools
from device_agent.control.client import NAME, Client
from device_agent.errors import DeviceAgentError

START_S = 20.0
RESTART_S = 2.0  # RestartSec of systemd/device-agent.service
LOOK_S = 0.02
# No greeting, and no turn ever ends: whatever the room sounds like, nobody answers it.
QUIET = ("--first-message", "", "--end-of-turn-ms", "86400000")
IN_CONVERSATION = ("listening", "thinking", "speaking", "muted")


@dataclass(frozen=True)
class Site:
    """What stays the same for all drills of a run. `cards` are None where the machine's own are used."""

    settings: Settings
    cards: VirtualCards | None
    say: Callable[[str], None]
    asks: bool = False
    """Whether there is a person to be asked."""


def settings_for(own: Settings, url: str, ca_file: str, virtual: bool) -> Settings:
    """The device's own sound, lights and pins; everything else is the drill's."""
    audio = replace(own.audio, self_check=False)
    if virtual:
        audio = replace(audio, input=(), output=(), mixer="software", echo="off")
    return Settings(
        agent=Agent(id="drill"),
        server=Server(url=url, auth="public", ca_file=ca_file),
        activation=Activation(modes=("always-on",)),
        gate=own.gate,
        audio=audio,
        sounds=own.sounds,
        session=Session(idle_close_s=0.0, connects_per_hour=0),
        panel=own.panel,
        lights=own.lights,
        tools=Tools(files=(str(Path(__file__).with_name("drill_tools.py")),), timeout_s=own.tools.timeout_s),
    )


@dataclass
class Stage:
    """One device in one drill. Its lights are those of the states: docs/lights.md."""

    site: Site
    home: Path
    simulator: Simulator
    proxy: Proxy
    process: subprocess.Popen[str] | None = None
    states: list[tuple[float, str]] = field(default_factory=list)
    """Each state of the device, and when it came."""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=12))
    """What the program wrote last."""
    restarts: int = 0
    _lives: ExitStack = field(default_factory=ExitStack)
    _pause: threading.Event = field(default_factory=threading.Event)
    _died: float = 0.0

    def start(self) -> None:
        """Start the program, as the service's unit would."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DEVICE_AGENT_")}
        environ |= {"STATE_DIRECTORY": str(self.home), "RUNTIME_DIRECTORY": str(self.home)}
        environ |= self.site.cards.environ if self.site.cards else {}
        command = (*PROGRAM, "run", "--config", str(self.home / "drill.toml"))
        self.process = self._lives.enter_context(running(command, environ, self.lines.append, subprocess.STDOUT))
        threading.Thread(target=self._watch, args=(self.process,), name="watch", daemon=True).start()

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Hear from the control socket what state the device is in, until it ends."""
        while process.poll() is None:
            try:
                with Client(self.home / NAME) as client:
                    for news in client.news():
                        state = str(news.get("state", ""))
                        if state and (not self.states or self.states[-1][1] != state):
                            self.states.append((time.monotonic(), state))
            except (DeviceAgentError, OSError, ValueError):
                self._pause.wait(LOOK_S)

    def tend(self) -> None:
        """What systemd does: a program that has ended is started again after a while."""
        if self.process is None or self.process.poll() is None:
            return
        if not self._died:
            self._died = time.monotonic()
            self.states.append((self._died, f"ended with {self.process.returncode}"))
        elif time.monotonic() - self._died >= RESTART_S:
            self._died, self.restarts = 0.0, self.restarts + 1
            self.start()

    def until(self, holds: Callable[[], Any], patience: float) -> Any:
        """What `holds` returns as soon as that is true; None when it is not within `patience`."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            self.tend()
            if found := holds():
                return found
            self._pause.wait(LOOK_S)
        return None

    def wait(self, seconds: float) -> None:
        self.until(lambda: None, seconds)

    def at_rest(self) -> bool:
        """Whether the device says that it is in a conversation."""
        return bool(self.states) and self.states[-1][1] in IN_CONVERSATION

    def connection(self) -> int:
        """The number of the server's newest conversation; 0 before the first."""
        return max((event["connection"] for event in self.simulator.of_kind("connected")), default=0)

    def well(self, since: float, beyond: int = 0, above_dbfs: float = -200.0) -> float | None:
        """When, after `since`, the server heard the device that says it is in a conversation; None as yet.

        `beyond`: in a conversation after this one. `above_dbfs`: sound, not silence.
        """
        if not self.at_rest():
            return None
        since = max(since, self.states[-1][0])
        heard = self.simulator.of_kind("audio", since)
        return next((e["t"] for e in heard if e["connection"] > beyond and e["dbfs"] > above_dbfs), None)

    def begin(self) -> None:
        """The device in a conversation. Raises `DeviceAgentError` if it does not get there."""
        self.start()
        if not self.until(lambda: self.well(0.0), START_S):
            state = self.states[-1][1] if self.states else "silent"
            raise DeviceAgentError(f"it was not well before anything was done: {state}")

    def stop(self) -> None:
        self._lives.close()


@contextmanager
def server(home: Path, *options: str) -> Iterator[Simulator]:
    """A simulator that keeps to itself what it has to say of its voice. Raises `DeviceAgentError` with its reason."""
    with TemporaryDirectory(dir=home) as own, Path(own, "said").open("w+") as said:
        simulator = Simulator(Path(own, "heard.wav"), *QUIET, *options, stderr=said)
        try:
            simulator.__enter__()
        except DeviceAgentError:
            said.seek(0)
            raise DeviceAgentError(f"the simulator does not start: {said.read().strip()[-300:]}") from None
        try:
            yield simulator
        finally:
            simulator.stop()


@contextmanager
def stage(site: Site, *options: str, tls: ssl.SSLContext | None = None, ca_file: str = "") -> Iterator[Stage]:
    """A simulator with these options, and the way to it; the device is not started yet."""
    with TemporaryDirectory(prefix="device-agent-drill-") as directory:
        home = Path(directory)
        with ExitStack() as open_:
            simulator = open_.enter_context(server(home, *options))
            proxy = open_.enter_context(Proxy(simulator.port, tls))
            url = f"{'wss' if tls else 'ws'}://127.0.0.1:{proxy.port}"
            settings = settings_for(site.settings, url, ca_file, site.cards is not None)
            (home / "drill.toml").write_text(effective(settings))
            made = Stage(site, home, simulator, proxy)
            open_.callback(made.stop)
            yield made
