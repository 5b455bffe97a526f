"""Rows of what surrounds the program: its network, its file systems, its clock, its button. They mostly wait."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bed import MEMORY, Run, Server, pause, started
from link_peer import CLOSE, Peer

from device_agent.bench.authority import Authority
from device_agent.link.liveness import PONG_S

NOISE_S = 1.0
Environ = dict[str, str]


# ------------------------------------------------------------------------------- networks
def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)


class Net:
    """A network namespace and the one cable to it. `number` keeps those that stand at the same time apart."""

    def __init__(self, number: int) -> None:
        self.name = f"da{os.getpid() % 100_000}n{number}"
        self._subnet = f"10.{200 + number}.{os.getpid() % 256}"
        self.host = self.at(1)
        self.prefix = ("ip", "netns", "exec", self.name)

    def __enter__(self) -> Net:
        ip("netns", "add", self.name)
        try:
            ip("link", "add", f"{self.name}a", "type", "veth", "peer", "name", f"{self.name}b", "netns", self.name)
            ip("address", "add", f"{self.host}/24", "dev", f"{self.name}a")
            ip("link", "set", f"{self.name}a", "up")
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        ip("netns", "delete", self.name)

    def at(self, last: int) -> str:
        return f"{self._subnet}.{last}"

    def address(self, verb: str, last: int) -> None:
        """`add` one to the program's end of the cable, or `del` it."""
        ip("-n", self.name, "address", verb, f"{self.at(last)}/24", "dev", f"{self.name}b")

    def plug(self, last: int) -> None:
        """From now on there is a network."""
        ip("-n", self.name, "link", "set", f"{self.name}b", "up")
        self.address("add", last)


@contextmanager
def far(net: Net) -> Iterator[tuple[Server, str]]:
    """A server at the other end of the cable, and the setting by which it is trusted."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        server = Server(net.host, tls=authority.server(authority.certificate("far", net.host)))
        yield server, f"server.ca_file={authority.ca_file}"


def no_network(environ: Environ, sabotage: str) -> float:
    """Row 43: the machine comes up without any network; from the moment on at which there is one."""
    with (
        Net(3 + bool(sabotage)) as net,
        far(net) as (server, trust),
        started(environ, server, trust, scheme="wss", prefix=net.prefix, sabotage=sabotage) as run,
    ):
        run.systemd.hears("READY=1")
        pause(8.0)  # several attempts have failed
        net.plug(2)
        began = time.monotonic()
        server.listener.settimeout(3 + NOISE_S)
        server.accept()
        return time.monotonic() - began


def roaming(environ: Environ, sabotage: str) -> float:
    """Row 44: in a conversation the machine gets another address; until it is heard again."""
    with Net(5 + bool(sabotage)) as net, far(net) as (server, trust):
        net.plug(2)
        with started(environ, server, trust, scheme="wss", prefix=net.prefix, sabotage=sabotage):
            peer = server.talk()
            net.address("del", 2)
            net.address("add", 3)
            began = time.monotonic()
            server.listener.settimeout(3 + NOISE_S)
            server.talk()
            peer.sock.close()
            return time.monotonic() - began


# ------------------------------------------------------------------------------- file systems
@dataclass(frozen=True)
class Effect:
    """What a file system that takes nothing does to a conversation: nothing."""

    share: float
    """Of the audio of that time, what came in it."""
    volume: int
    written: bool
    code: int
    stop_s: float

    @property
    def none(self) -> bool:
        return (
            0.9 < self.share < 1.1
            and (self.volume, self.written, self.code) == (33, False, 0)
            and self.stop_s < 2 + NOISE_S
        )

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} % of the audio in time, a wish holds, nothing written, stop {self.stop_s:.1f} s"


def effect(run: Run, server: Server, state: Path) -> Effect:
    """Somebody sets the volume and mutes, somebody asks for the flight recorder, in the middle of a conversation."""
    peer = server.talk()
    with run.control() as client:
        client.ask("volume", level=33)
        run.process.send_signal(signal.SIGUSR2)
        began, size = time.monotonic(), 0
        while time.monotonic() - began < 3:
            size += len(peer.read_audio())
        client.ask("mute", muted=True)
        volume = client.ask("status")["volume"]
    stop_s, code = run.stop()
    written = any(file.stat().st_size for file in (*state.glob("state*"), *run.home.glob("flight*/*")))
    return Effect(size / 2 / 16_000 / 3, volume, written, code, stop_s)


def disk_full(environ: Environ, sabotage: str) -> Effect:
    """Row 45: its directories lie in a file system in which no byte is left."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(("mount", "-t", "tmpfs", "-o", "size=64k", "none", place), check=True)
        try:
            with suppress(OSError), Path(place, "all of it").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            server = Server()
            with started(environ, server, sabotage=sabotage, place=place) as run:
                return effect(run, server, run.home)
        finally:
            subprocess.run(("umount", "--lazy", place), check=True)


READ_ONLY = 'mount --make-rprivate / && mount -o bind,remount,ro / && exec "$@"'


def read_only(environ: Environ, sabotage: str) -> Effect:
    """Row 46: the root of the file system cannot be written, and with it what should outlive a restart."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as state:
        server = Server()
        prefix = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh")
        places = environ | {"STATE_DIRECTORY": state}
        with started(places, server, prefix=prefix, sabotage=sabotage) as run:
            return effect(run, server, Path(state))


# ------------------------------------------------------------------------------- the clock
YEAR_S = 365 * 86_400
FAKETIME = "libfaketime.so.1"


@contextmanager
def swept(run: Run) -> Iterator[None]:
    """Take away what libfaketime keeps of a process that ends by a signal."""
    try:
        yield
    finally:
        for file in Path("/dev/shm").glob(f"*faketime_*_{run.process.pid}"):
            file.unlink()


def clock_jumps(environ: Environ, sabotage: str) -> str:
    """Row 42: in a conversation the clock jumps a year ahead, ten years back, and is set right; what becomes of it."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        offset = Path(directory, "offset")
        offset.write_text("+0\n")
        library = next(Path("/usr/lib").glob(f"*/faketime/{FAKETIME}"))
        faked = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        server = Server()
        with started(environ | faked, server, sabotage=sabotage) as run, swept(run):
            run.systemd.hears("READY=1")  # all is loaded, and nobody connected yet
            peer = server.talk()
            size, years, began = 0, set(), time.monotonic()
            for jump, seconds in ((YEAR_S, PONG_S + 0.5), (-10 * YEAR_S, 1.0), (1, 1.0)):
                offset.write_text(f"{jump:+}\n")
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    size += len(peer.read_audio())
                run.process.send_signal(signal.SIGUSR2)
                while len(found := list(run.home.glob("flight-*.jsonl"))) == len(years):
                    size += len(peer.read_audio())
                years = {file.name[7:11] for file in found}
            share = size / 2 / 16_000 / (time.monotonic() - began)
    assert len(years) == 3, f"the clock did not jump: {years}"
    assert 0.9 < share < 1.1
    return f"{100 * share:.0f} % of the audio in time, one connection, over three jumps"


# ------------------------------------------------------------------------------- the button
DOWN, UP = "1", "0"
BOUNCES, BOUNCE_S = 15 * (DOWN, UP), 0.000_17
HUM, HUM_S = 200 * (DOWN, UP), 0.005


class Hand:
    """Moves the button's pin in the started program (see saboteur.py): so long between two edges."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def moves(self, pause_s: float, *edges: str) -> None:
        self._socket.sendto(" ".join(("pin", str(pause_s), *edges)).encode(), str(self._run.home / "orders"))
        pause(pause_s * len(edges) + 0.2)


def goes_on(peer: Peer, seconds: float) -> None:
    """The conversation is heard for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peer.read_audio()


def closes(peer: Peer) -> None:
    while peer.read_frame()[0] != CLOSE:
        pass


def button(environ: Environ, sabotage: str) -> str:
    """Row 39: a press that bounces is one, and so is its release; what sticks, and what hums, is one too."""
    server = Server()
    server.listener.settimeout(5.0)
    # More than the usual 20 ms of rest: on a machine that others use, too, software moves no pin on time.
    settings = ("activation.modes=toggle", "panel.backend=mock", "panel.button_pin=17", "panel.debounce_ms=100")
    with started(environ, server, *settings, sabotage=f"obey {sabotage}") as run:
        run.systemd.hears("READY=1")
        hand = Hand(run)
        hand.moves(BOUNCE_S, *BOUNCES, DOWN)
        peer = server.talk()
        hand.moves(BOUNCE_S, *BOUNCES, UP)
        goes_on(peer, 1.0)
        hand.moves(BOUNCE_S, *BOUNCES, DOWN)
        closes(peer)
        hand.moves(BOUNCE_S, *BOUNCES, UP)
        hand.moves(0.0, DOWN)  # and sticks
        peer = server.talk()
        goes_on(peer, 11.0)
        hand.moves(0.0, UP)
        before = run.rss_mb
        hand.moves(HUM_S, *HUM)
        closes(peer)
        grown = run.rss_mb - before
        server.listener.settimeout(1.0)
        with suppress(TimeoutError):
            server.accept()
            raise AssertionError("the hum was more than one press")
        hand.moves(0.0, DOWN, UP)
        server.talk()
    assert grown < 1.0, grown
    return f"30 bounces in 5 ms: 1 action each; stuck for 11 s: none; 100 Hz for 2 s: 1, RSS {grown:+.1f} MB"


# ------------------------------------------------------------------------------- a log, a tool
@contextmanager
def full_pipe() -> Iterator[int]:
    """The end of a pipe into which nothing more goes, and that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


def unread(environ: Environ, sabotage: str) -> float:
    """Row 47: the share of the audio that comes in time while standard output is a full pipe."""
    server = Server()
    server.listener.settimeout(8.0)
    with full_pipe() as pipe, started(environ, server, "log.level=debug", stdout=pipe, sabotage=sabotage):
        try:
            peer = server.talk()
        except TimeoutError:
            return 0.0
        for n in range(100):
            peer.say({"type": f"from_the_future_{n}"})  # some of it is for the log
        began, size = time.monotonic(), 0
        while time.monotonic() - began < 4:
            size += len(peer.read_audio())
    return size / 2 / 16_000 / 4


GREEDY = '''
import ctypes, time
from device_agent import tool


@tool
def hold(greedy: bool) -> str:
    """Sleep, with the interpreter held or without."""
    ctypes.PyDLL(None).sleep(60) if greedy else time.sleep(60)
    return "x"
'''


def greedy(environ: Environ, sabotage: str) -> float:
    """Row 57: a tool calls C that keeps the interpreter; until the process has ended, with its stacks written."""
    server = Server()
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        tools = Path(directory, "greedy.py")
        tools.write_text(GREEDY)
        with started(environ, server, f"tools.files={tools}") as run:
            peer = server.talk()
            event = {"tool_name": "hold", "tool_call_id": "c", "parameters": {"greedy": not sabotage}}
            began = time.monotonic()
            peer.say({"type": "client_tool_call", "client_tool_call": event})
            code = run.process.wait(10.1 + NOISE_S)
            took = time.monotonic() - began
            stacks = (run.home / "errors").read_text()
    assert code == -signal.SIGALRM, code
    assert "greedy.py" in stacks, stacks
    return took


# ------------------------------------------------------------------------------- a stop
def all_hang(environ: Environ, sabotage: str) -> float:
    """Row 53: capture, playback, link and dispatcher stand still when the signal comes; until the process has ended."""
    server = Server()
    with started(environ, server, sabotage=f"obey {sabotage}") as run:
        peer = server.talk()
        with run.control() as client:
            run.has_cards(client)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as order:
            order.sendto(b"hang", str(run.home / "orders"))
        pause(0.5)  # each has begun another turn
        began = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
        code = run.process.wait(6 + NOISE_S)
        took = time.monotonic() - began
        stacks = (run.home / "errors").read_text()
        peer.sock.close()
    assert code == 70, code
    assert stacks.count("in stand_still") >= 4, stacks
    return took
