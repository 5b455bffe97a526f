"""Rows of the end: SIGTERM at any moment, in any state, whatever else goes wrong at that moment."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from bed import Run, Server, pause, started
from link_peer import CLOSE, Peer

from device_agent.bench.virtual_audio import VirtualCards

Keep = Callable[[int, str], None]
MOMENTS = 50
HEALTHY_S, ANY_S = 0.3, 2.0
MARGIN_S = 0.01  # between the end of a stream and that of its process, if it was closed on purpose
NOISE_S = 1.0  # this machine is shared; the bound itself is in the table
AT_ONCE = 3
DEATHS = 8
EVENT = re.compile(r"Event 'remove' on (sink-input|source-output) #(\d+)")


class Streams:
    """What the sound server knows of streams: whose they are, and when each ended."""

    def __init__(self, cards: VirtualCards) -> None:
        self._environ = {**os.environ, **cards.environ, "LC_ALL": "C"}
        self._ended: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Streams:
        self._process = subprocess.Popen(
            ("stdbuf", "-oL", "pactl", "subscribe"), env=self._environ, stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def of(self, pid: int) -> list[tuple[str, str]]:
        """The streams that a process has open."""
        found = []
        for kind in ("sink-input", "source-output"):
            text = subprocess.run(
                ("pactl", "--format=json", "list", f"{kind}s"), env=self._environ, check=True, capture_output=True
            ).stdout
            for stream in json.loads(text):
                if stream["properties"].get("application.process.id") == str(pid):
                    found.append((kind, str(stream["index"])))
        return found

    def closed_before(self, streams: list[tuple[str, str]], moment: float) -> bool:
        """Whether all of them ended clearly before that."""
        return all(self._ended.get(stream, moment) < moment - MARGIN_S for stream in streams)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := EVENT.search(line):
                self._ended[found[1], found[2]] = time.monotonic()


@dataclass(frozen=True)
class End:
    """How one run ended: seconds, exit code, whether the server got a close frame, whether the streams were closed."""

    state: str
    seconds: float
    code: int
    farewell: bool | None
    closed: bool
    streams: int


def ended(run: Run) -> float:
    """When the process ended, to the millisecond."""
    descriptor = os.pidfd_open(run.process.pid)
    try:
        assert select.select([descriptor], [], [], 10.0)[0], "it does not end"
        return time.monotonic()
    finally:
        os.close(descriptor)


def stop(run: Run, peer: Peer | None, streams: Streams, state: str, number: int = signal.SIGTERM) -> End:
    """Send the signal; `peer` is a conversation that is open."""
    mine = streams.of(run.process.pid)
    began = time.monotonic()
    run.process.send_signal(number)
    at = ended(run)
    pause(0.02)
    return End(
        state,
        at - began,
        run.process.wait(),
        farewell(peer) if peer else None,
        streams.closed_before(mine, at),
        len(mine),
    )


def farewell(peer: Peer) -> bool:
    """Whether a close frame is the last that came."""
    with suppress(AssertionError, OSError):
        while True:
            if peer.read_frame()[0] == CLOSE:
                return True
    return False


# ------------------------------------------------------------------------------- the states
def starting(run: Run, server: Server) -> None:
    """From the moment on at which its handler stands."""
    while not run.catches(signal.SIGTERM):
        pause(0.005)


def connecting(run: Run, server: Server) -> None:
    server.accept()
    run.systemd.hears("READY=1")


def initiating(run: Run, server: Server) -> None:
    server.accept().upgrade()
    run.systemd.hears("READY=1")


def talking(run: Run, server: Server) -> Peer:
    peer = server.talk()
    run.systemd.hears("READY=1")
    return peer


def replying(run: Run, server: Server) -> Peer:
    peer = talking(run, server)
    audio = "AAEA" * 40_000  # 3.75 s
    peer.say({"type": "audio", "audio_event": {"audio_base_64": audio, "event_id": 1}})
    return peer


def muted(run: Run, server: Server) -> Peer:
    peer = talking(run, server)
    with run.control() as client:
        client.ask("mute", muted=True)
    return peer


def waiting(run: Run, server: Server) -> None:
    peer = server.accept()
    peer.read_request()
    peer.answer("503 Service Unavailable")
    peer.sock.close()
    run.systemd.hears("READY=1")


def leaving(run: Run, server: Server) -> None:
    talking(run, server)
    with run.control() as client:
        client.ask("end")


STATES = (starting, connecting, initiating, talking, replying, muted, waiting, leaving)


def one(environ: dict[str, str], streams: Streams, n: int, number: int = signal.SIGTERM) -> End:
    """Start, go into a state, wait for a random moment, signal."""
    rng, state = random.Random(n), STATES[n % len(STATES)]
    server = Server()
    with started(environ, server) as run:
        peer = state(run, server)
        pause(rng.random() * 0.8)
        found = stop(run, peer, streams, state.__name__, number)
    server.close()
    print(found)
    return found


def test_row_52_sigterm_at_any_moment(cards: VirtualCards, figure: Keep) -> None:
    """Fifty random moments in eight states: exit code 0, a close frame in a conversation, streams closed, in time.

    Sabotage: SIGKILL leaves neither.
    """
    with Streams(cards) as streams, ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(lambda n: one(cards.environ, streams, n), range(MOMENTS)))
        killed = one(cards.environ, streams, STATES.index(talking), signal.SIGKILL)
    took = sorted(end.seconds for end in ends)
    healthy = sum(seconds <= HEALTHY_S for seconds in took)
    figure(
        52,
        f"median {1000 * took[MOMENTS // 2]:.0f} ms, {healthy} of {MOMENTS} ≤ 0.3 s, worst {1000 * took[-1]:.0f} ms; "
        f"{sum(end.code == 0 for end in ends)} of {MOMENTS} in order",
    )
    assert {end.code for end in ends} == {0}
    assert {end.farewell for end in ends} == {True, None}
    assert sum(end.closed for end in ends) >= MOMENTS * 9 // 10  # the sound server's own words may come late
    assert sum(end.streams for end in ends) > MOMENTS  # there were streams to close
    assert took[-1] <= ANY_S + NOISE_S
    assert took[MOMENTS // 2] <= 2 * HEALTHY_S
    assert (killed.code, killed.farewell, killed.closed) == (-signal.SIGKILL, False, False)


def test_sigterm_while_the_sound_server_and_the_server_die() -> None:
    """Both are gone at one moment, and the signal comes then or a little later: in order, within 2 s, each time.

    Sabotage: `test_row_52_sigterm_at_any_moment` measures the end to the millisecond, and sees a SIGKILL as one.
    """
    rng, took = random.Random(52), []
    with VirtualCards() as cards:
        for _ in range(DEATHS):
            server = Server()
            with started(cards.environ, server) as run:
                peer = talking(run, server)
                pause(0.3)
                server.close()
                cards.kill_server()
                peer.reset()
                pause(rng.choice((0.0, 0.1, 0.5, 0.7, 1.2)) + rng.random() / 5)
                began = time.monotonic()
                run.process.send_signal(signal.SIGTERM)
                took.append(ended(run) - began)
                assert run.process.wait() == 0
            cards.revive_server()
    print(f"{[f'{1000 * seconds:.0f} ms' for seconds in took]}")
    assert max(took) <= ANY_S + NOISE_S
