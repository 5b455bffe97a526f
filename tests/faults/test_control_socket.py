"""Row 66: the control socket under attack, while a conversation goes on that the server listens to closely."""

from __future__ import annotations

import array
import base64
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bed import Run, Server, pause, started
from link_peer import Peer
from rig import displaced, pcm
from steady import Metronome

from device_agent.bench.virtual_audio import RATE, Microphone, Recorder, VirtualCards
from device_agent.control.client import NAME
from device_agent.control.server import BACKLOG_BYTES, CLIENTS
from tests.analysis import WIRE_RATE, noise, resampled

Keep = Callable[[int, str], None]
NOBODY = 65534
SOUND_S = 6.0
GROWTH_MB = 2.0
LATE_FRAMES = 2  # in 6 s this machine alone makes as many late
STRANGER = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.settimeout(3)
try:
    s.sendall(b'{"do":"status"}\\n')
    print(len(s.recv(100)))
except OSError:
    print(0)
"""


class Ear(threading.Thread):
    """Reads all audio of a conversation. The first sample came at `began`."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(daemon=True)
        self.peer = peer
        self.began = time.monotonic()
        self.pcm = bytearray()

    def run(self) -> None:
        with suppress(AssertionError, OSError):
            while True:
                self.pcm += base64.b64decode(self.peer.read().get("user_audio_chunk", ""))

    def faults(self, room: Recorder, since: float, until: float) -> list[str]:
        """Where what sounded in the room at that time came in pieces."""
        heard = array.array("h", bytes(self.pcm[: len(self.pcm) & ~1]))
        sounded = resampled(room.samples(since, until), RATE, WIRE_RATE)
        return displaced(heard, sounded, WIRE_RATE, round((since - self.began) * WIRE_RATE))


def client(run: Run) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(run.home / NAME))  # which waits while the queue is full
    made.settimeout(3.0)
    return made


def hung_up(one: socket.socket) -> bool:
    """Whether the device has closed it, whatever it said before."""
    try:
        while one.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def stranger(run: Run) -> bool:
    """A user who is neither root nor of the group, and whom the file system would let in, is not answered."""
    run.home.chmod(0o755)
    (run.home / NAME).chmod(0o666)
    asked = subprocess.run(
        (sys.executable, "-c", STRANGER, str(run.home / NAME)), user=NOBODY, group=NOBODY, extra_groups=(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return asked.stdout.strip() == "0"


def long_line(run: Run) -> bool:
    """A megabyte without an end of line is cut off."""
    with client(run) as one:
        with suppress(OSError):
            one.sendall(b"x" * 2**20)
        return hung_up(one)


def deaf(run: Run) -> bool:
    """Who asks and never reads is let go when so much waits for him."""
    with client(run) as one:
        one.settimeout(0.5)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        end = time.monotonic() + 6
        with suppress(OSError):
            one.sendall(b'{"do":"subscribe"}\n')
            while time.monotonic() < end:
                one.sendall(b'{"do":"status"}\n' * 20)
                pause(0.02)
        one.settimeout(3.0)
        return hung_up(one)


def nonsense(run: Run) -> bool:
    """Each wrong line is refused in a line; the client stays."""
    with client(run) as one:
        one.sendall(b"\n{bad\n[]\n" + b'{"do":"fly"}\n{"do":"status","x":1}\n' + b"[" * 3000 + b"\n")
        lines = one.makefile("rb")
        return all(b'"ok":false' in lines.readline() for _ in range(6))


def crowd(run: Run) -> bool:
    """Of a hundred at once those beyond 16 are sent away."""
    many = [client(run) for _ in range(100)]
    for one in many:
        one.settimeout(0.05)
    turned_away = sum(map(hung_up, many))
    for one in many:
        one.close()
    return turned_away >= 100 - CLIENTS


def attacked(run: Run) -> dict[str, bool]:
    """Everything, with somebody at one letter in 50 ms beside it; whether each was refused."""
    with client(run) as slow:
        over = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                for letter in b'{"do":"status"}' * 100:
                    slow.send(bytes([letter]))
                    if over.wait(0.05):
                        return

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        found = {attack.__name__: attack(run) for attack in (stranger, long_line, nonsense, crowd, deaf)}
        over.set()
        dripping.join()
    with run.control() as person:
        began = time.monotonic()
        person.ask("status")
        found["a person is answered"] = time.monotonic() - began < 1.0
    return found


def conversation(cards: VirtualCards, act: Callable[[Run], Any]) -> tuple[Any, list[str], float]:
    """What `act` found; the faults in the audio meanwhile; and how much memory it took."""
    server = Server()
    sent = noise(SOUND_S, WIRE_RATE)
    room = Recorder(cards, cards.microphone)
    with room, Microphone(cards) as microphone, started(cards.environ, server) as run:
        ear = Ear(server.talk())
        ear.start()
        with run.control() as one:
            run.has_cards(one)
        run.at_rest(1.0)
        before = run.rss_mb
        said_at = time.monotonic()
        microphone.say(pcm(sent))
        found = act(run)
        pause(max(0.0, said_at + SOUND_S + 1.0 - time.monotonic()))
        assert ear.is_alive()  # it is one conversation
        grown = run.rss_mb - before
        return found, ear.faults(room, said_at, said_at + SOUND_S), grown


def test_row_66_the_control_socket_under_attack(cards: VirtualCards, figure: Keep) -> None:
    """A stranger, a line of 1 MB, nonsense, a hundred clients, a deaf one, a slow one: refused, and never heard of.

    Every sample of the noise at the microphone reaches the server.
    """
    with Metronome() as metronome:
        found, faults, grown = conversation(cards, attacked)
    print(found, faults, f"{metronome.stalls} stalls of this machine")
    late = sum(abs(int(fault.split()[0])) for fault in faults if fault[0] in "+-")
    figure(66, f"all refused; in {SOUND_S:.0f} s of audio {late} ms of silence too much, RSS {grown:+.1f} MB")
    assert all(found.values()), found
    assert len(faults) <= LATE_FRAMES + 3 * metronome.stalls
    assert grown <= GROWTH_MB
    assert BACKLOG_BYTES < GROWTH_MB * 2**20


def test_row_66_hears_a_hole(cards: VirtualCards) -> None:
    """Sabotage: a client that is allowed to mute for a moment is heard of at once."""

    def mute(run: Run) -> None:
        with run.control() as one:
            pause(2.0)
            one.ask("mute", muted=True)
            pause(0.3)
            one.ask("mute", muted=False)

    assert any("lost" in fault for fault in conversation(cards, mute)[1])
