"""The started program and the other end of its socket, which the test itself plays."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from link_peer import METADATA, Peer

from device_agent.bench.systemd import Systemd
from device_agent.control.client import NAME, Client
from device_agent.errors import ServiceError

PATIENCE_S = 30.0
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""The state is written through to the medium: how long a disk takes that others use, too, is not to be measured."""
SABOTEUR = Path(__file__).with_name("saboteur.py")
TALK = ("activation.modes=always-on", "audio.echo=off", "sounds.earcons=false", "sounds.speech=false")


@dataclass
class Run:
    """One started program."""

    process: subprocess.Popen[bytes]
    systemd: Systemd
    home: Path

    def kb(self, name: str) -> int:
        """A number of /proc/PID/status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])

    def catches(self, number: int) -> bool:
        """Whether it has a handler for that signal."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        mask = next(line for line in lines if line.startswith("SigCgt:")).split()[1]
        return bool(int(mask, 16) >> (number - 1) & 1)

    @property
    def rss_mb(self) -> float:
        return self.kb("VmRSS") / 1024

    @property
    def threads(self) -> int:
        return self.kb("Threads")

    @property
    def descriptors(self) -> list[int]:
        return sorted(int(entry.name) for entry in Path(f"/proc/{self.process.pid}/fd").iterdir())

    @contextmanager
    def limited(self, what: int, most: int) -> Iterator[None]:
        """A resource limit of the running program, lowered for a while from outside."""
        before, hard = resource.prlimit(self.process.pid, what)
        resource.prlimit(self.process.pid, what, (most, hard))
        try:
            yield
        finally:
            if self.process.poll() is None:
                resource.prlimit(self.process.pid, what, (before, hard))

    def control(self) -> Client:
        """A client of its control socket, as soon as there is one."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return Client(self.home / NAME)
            except ServiceError:
                assert time.monotonic() < end, "no control socket"
                pause(0.02)

    def at_rest(self, seconds: float = 2.5) -> tuple[int, int]:
        """Descriptors and threads, when they have not changed for so long: the writer of the state file lives 2 s."""
        end = time.monotonic() + PATIENCE_S
        found, since = (0, 0), time.monotonic()
        while time.monotonic() - since < seconds:
            assert time.monotonic() < end, "never at rest"
            pause(0.1)
            now = (len(self.descriptors), self.threads)
            if now != found:
                found, since = now, time.monotonic()
        return found

    def has_cards(self, client: Client) -> None:
        """Wait until microphone and loudspeaker are open."""
        end = time.monotonic() + PATIENCE_S
        while not ((said := client.ask("status"))["microphone_card"] and said["loudspeaker_card"]):
            assert time.monotonic() < end, said
            pause(0.02)

    def stop(self, number: int = signal.SIGTERM) -> tuple[float, int]:
        """Seconds until it has ended, and its exit code."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(10)
        return time.monotonic() - began, code

    def connected(self, server: Server) -> bool:
        """Whether the kernel has an established connection from the program's network to the server's port."""
        rows = [line.split() for line in Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()[1:]]
        return any(row[2].endswith(f":{server.port:04X}") and row[3] == "01" for row in rows)

    def hangs_up(self, server: Server, patience: float = 25.0) -> float:
        """Seconds from now until the kernel knows of no connection any more."""
        began = time.monotonic()
        while self.connected(server):
            pause(0.02)
            assert time.monotonic() - began < patience, "the connection still stands"
        return time.monotonic() - began


@dataclass(frozen=True)
class Place:
    """Where somebody else listens."""

    host: str
    port: int


class Server:
    """A listening socket; each connection is played by the test, one blocking step at a time."""

    def __init__(self, host: str = "127.0.0.1", receive_buffer: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((host, 0))
        self.listener.listen(16)
        self.listener.settimeout(PATIENCE_S)
        self.host, self.port = self.listener.getsockname()

    def accept(self) -> Peer:
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        peer = Peer(self.tls.wrap_socket(sock, server_side=True) if self.tls else sock)
        peer.sock.settimeout(PATIENCE_S)
        return peer

    def talk(self) -> Peer:
        """A conversation in which the device's audio has begun to come."""
        peer = self.accept()
        peer.upgrade()
        peer.say(METADATA)
        while "user_audio_chunk" not in peer.read():
            pass
        return peer

    def attempts(self, seconds: float, answer: Callable[[Peer], None]) -> list[float]:
        """Give everybody that answer for so long; when each came, from the first one on."""
        times: list[float] = []
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.listener.settimeout(max(0.01, end - time.monotonic()))
            try:
                peer = self.accept()
            except TimeoutError:
                break
            times.append(time.monotonic())
            answer(peer)
            peer.sock.close()
            if len(times) == 1:
                end = times[0] + seconds
        self.listener.settimeout(PATIENCE_S)
        return times

    def close(self) -> None:
        self.listener.close()


def until_closed(peer: Peer) -> float:
    """Read until the device hangs up; when it did."""
    try:
        while peer.sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic()


@contextmanager
def started(
    environ: dict[str, str],
    server: Server | Place,
    *settings: str,
    scheme: str = "ws",
    prefix: tuple[str, ...] = (),
    stdout: int = subprocess.DEVNULL,
    sabotage: str = "",
    host: str = "",
    place: str | None = MEMORY,
) -> Iterator[Run]:
    """`device-agent run` against `server`, with configuration and state of its own; `sabotage`: see saboteur.py."""
    with tempfile.TemporaryDirectory(dir=place) as directory:
        home = Path(directory)
        config = home / "config.toml"
        config.write_text("")
        chosen = ("agent.id=agent_1", f"server.url={scheme}://{host or server.host}:{server.port}", *TALK, *settings)
        if sabotage:
            chosen += (f"tools.files={SABOTEUR}",)
        options = [word for setting in chosen for word in ("--set", setting)]
        command = (*prefix, sys.executable, "-m", "device_agent", "run", "--config", str(config), *options)
        with Systemd(home / "notify") as systemd, (home / "errors").open("w") as errors:
            places = {
                "STATE_DIRECTORY": directory,
                "RUNTIME_DIRECTORY": directory,
                **systemd.environ,
                "SABOTAGE": sabotage,
                **environ,
            }
            process = subprocess.Popen(command, env={**os.environ, **places}, stdout=stdout, stderr=errors)
            try:
                yield Run(process, systemd, home)
            finally:
                process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that never rest."""
    burners = [subprocess.Popen((sys.executable, "-c", "while True: pass")) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)
