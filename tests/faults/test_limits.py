"""Rows in which the machine has too little to give: descriptors, memory, threads, time of its processors."""

from __future__ import annotations

import base64
import itertools
import json
import os
import resource
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bed import Run, Server, busy, pause, started
from link_peer import CLOSE, METADATA, TEXT, Peer

from device_agent.bench.virtual_audio import VirtualCards
from device_agent.control.client import Client

Keep = Callable[[int, str], None]
DESCRIPTORS = 64  # with its clients the program uses 46
WARM, RECONNECTS = 50, 1000
FACTS = 14_000  # fill the flight recorder, which grows until then
GROWTH_MB = 1.0
CLIENTS = 14  # each may ask 50 times a second
RECOVERY_S = 8.0
LOAD_S = 8.0
LATE_S = 1.0
BUSY = 6  # on two cores three times what they can do
LOWEST_FREE = 5  # no number below is ever free


# ------------------------------------------------------------------------------- descriptors
def refused(peer: Peer) -> None:
    peer.read_request()
    peer.answer("503 Service Unavailable")
    peer.sock.close()


def dropped(peer: Peer) -> None:
    peer.upgrade()
    peer.sock.close()


def reset(peer: Peer) -> None:
    peer.upgrade()
    peer.say(METADATA)
    peer.read()
    peer.reset()


def closed(peer: Peer) -> None:
    hear(peer)
    peer.frame(CLOSE, struct.pack("!H", 1000))
    peer.sock.close()


def hear(peer: Peer) -> None:
    """A conversation in which the device's audio has begun to come."""
    peer.upgrade()
    peer.say(METADATA)
    while "user_audio_chunk" not in peer.read():
        pass


ENDS = (Peer.reset, refused, dropped, reset, closed)


def reconnect(server: Server, clients: Iterator[Client], times: int) -> None:
    """So many connections, which the server ends in turn in each of its ways; a person asks for the next one."""
    for end in itertools.islice(itertools.cycle(ENDS), times):
        client = next(clients)
        client.ask("end")
        client.ask("talk")
        end(server.accept())


def fill(server: Server, client: Client) -> None:
    """So many facts that the flight recorder is full."""
    client.ask("end")
    client.ask("talk")
    peer = server.accept()
    hear(peer)
    for n in range(FACTS):
        peer.say({"type": "vad_score", "vad_score_event": {"vad_score": n / FACTS}})
        if n % 200 == 0:
            pause(0.03)


def reconnects(environ: dict[str, str], times: int, sabotage: str = "") -> tuple[int, int, float]:
    """Descriptors, threads and megabytes more after so many connections than before."""
    server = Server()
    with started(environ, server, "session.connects_per_hour=0", sabotage=sabotage) as run, ExitStack() as stack:
        server.accept().reset()
        clients = itertools.cycle([stack.enter_context(run.control()) for _ in range(CLIENTS)])
        resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        if not sabotage:
            fill(server, next(clients))
            reconnect(server, clients, WARM)
        before = at_rest(run, next(clients))
        reconnect(server, clients, times)
        after = at_rest(run, next(clients))
    return after[0] - before[0], after[1] - before[1], after[2] - before[2]


def at_rest(run: Run, client: Client) -> tuple[int, int, float]:
    """Descriptors, threads, megabytes when no connection is open."""
    client.ask("end")
    return *run.at_rest(), run.rss_mb


def test_row_49_a_thousand_reconnects(cards: VirtualCards, figure: Keep) -> None:
    """A thousand connections, ended by the server in five ways: no descriptor, no thread, at most 1 MB more."""
    descriptors, threads, grown = reconnects(cards.environ, RECONNECTS)
    figure(49, f"{descriptors} descriptors, {threads} threads, {grown:+.1f} MB after {RECONNECTS} reconnects")
    assert (descriptors, threads) == (0, 0)
    assert grown <= GROWTH_MB


def test_row_49_sees_a_leak(cards: VirtualCards) -> None:
    """Sabotage: of a program that keeps a descriptor of each connection, five are seen after five."""
    assert reconnects(cards.environ, 5, sabotage="leak")[0] == 5


def test_row_49_no_descriptor_to_be_had(cards: VirtualCards) -> None:
    """A connection for which there is no descriptor fails; when there is one again, the next one stands."""
    server = Server()
    with started(cards.environ, server) as run, run.control() as client:
        peer = server.talk()
        with run.limited(resource.RLIMIT_NOFILE, LOWEST_FREE):
            server.listener.settimeout(3.0)
            peer.reset()
            late = run.control()  # which waits in the queue
            with pytest.raises(TimeoutError):
                server.accept()
        with late:
            assert late.ask("status")["link"] == "backoff"
        client.ask("talk")
        server.talk()


# ------------------------------------------------------------------------------- memory and threads
def heard(server: Server, peer: Peer, seconds: float) -> tuple[Peer, float]:
    """When the device is heard for half a second, in this conversation or in one that it opened instead."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            for _ in range(25):
                peer.read()
            return peer, time.monotonic() - began
        except (AssertionError, OSError):
            peer.sock.close()
            peer = server.talk()
    raise AssertionError(f"not heard within {seconds} s")


def starved(environ: dict[str, str], sabotage: str = "") -> tuple[float, int]:
    """Row 48: the address space is full when messages of 16 MB come. The longest silence, and how many were lost."""
    audio = base64.b64encode(bytes(11_900_000)).decode()
    data = json.dumps({"type": "audio", "audio_event": {"audio_base_64": audio, "event_id": 1}}).encode()
    server = Server()
    server.listener.settimeout(RECOVERY_S)
    with started(environ, server, sabotage=sabotage) as run:
        peer, took, lost = server.talk(), [], 0
        with run.control() as client:
            run.has_cards(client)  # and with them all its threads
        with run.limited(resource.RLIMIT_AS, run.kb("VmSize") * 1024):
            for _ in range(4):
                with suppress(OSError):
                    peer.frame(TEXT, data)
                before = peer
                peer, seconds = heard(server, peer, RECOVERY_S)
                took.append(seconds)
                lost += peer is not before
        assert run.process.poll() is None
        heard(server, peer, RECOVERY_S)
    return max(took), lost


def test_row_48_a_reply_for_which_there_is_no_memory(cards: VirtualCards, figure: Keep) -> None:
    """What cannot be held ends its connection, not the process: it is heard again within 8 s, each time."""
    took, lost = starved(cards.environ)
    figure(48, f"4 × 16 MB with no memory: {lost} connections lost, heard again after {took:.1f} s at most")
    assert lost
    assert took < RECOVERY_S


def test_row_48_sees_a_process_that_dies(cards: VirtualCards) -> None:
    """Sabotage: a program that ends where memory does is not heard again."""
    with pytest.raises((AssertionError, TimeoutError)):
        starved(cards.environ, sabotage="die_of_hunger")


@contextmanager
def no_threads(run: Run) -> Iterator[None]:
    """A control group in which nobody may start a thread."""
    tree = next(
        root for root in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if (root / "cgroup.procs").exists()
    )
    group = tree / f"device-agent-{run.process.pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(run.process.pid))
        (group / "pids.max").write_text("1")  # those that it has may stay
        yield
    finally:
        with suppress(ProcessLookupError):
            (tree / "cgroup.procs").write_text(str(run.process.pid))
        while (group / "cgroup.procs").read_text():  # it ends
            pause(0.02)
        group.rmdir()


root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a control group")


@root
def test_row_50_no_thread_to_be_had(cards: VirtualCards, figure: Keep, tmp_path: Path) -> None:
    """The kernel grants no thread more: a tool is refused, the conversation goes on, a wish is written at the stop.

    Sabotage: with threads to be had the same call is run.
    """
    tools = tmp_path / "lamp.py"
    tools.write_text('from device_agent import tool\n\n@tool\ndef lamp() -> str:\n    """Light."""\n    return "on"\n')
    server = Server()
    with started(cards.environ, server, f"tools.files={tools}") as run, run.control() as client:
        peer = server.talk()
        run.has_cards(client)
        with no_threads(run):
            refused = call(peer, "lamp", "c1")
            client.ask("volume", level=33)
            in_time, _ = listen(peer, 2.0)
        answered = call(peer, "lamp", "c2")
        took, code = run.stop()
        kept = json.loads((run.home / "state.json").read_text())
    figure(50, f"tool refused, {100 * in_time:.0f} % of the audio in time")
    assert (refused["is_error"], answered["is_error"]) == (True, False)
    assert 0.9 < in_time < 1.1
    assert (code, kept["volume"]) == (0, 33)
    assert took < 2


@root
def test_row_33_a_library_that_never_returns(cards: VirtualCards, figure: Keep) -> None:
    """Without its own thread the sound server's library blocks for ever when the loudspeaker opens, with a lock held.

    Nobody can help within the process: it ends by itself within 14 s, for systemd to start it again. Sabotage: with
    threads to be had the loudspeaker opens, and the process lives.
    """
    server = Server()
    with started(cards.environ, server) as run:
        peer = server.talk()
        peer.reset()  # the loudspeaker closes, and opens again with the next connection
        peer = server.talk()
        with run.control() as client:
            run.has_cards(client)
        with no_threads(run):
            peer.reset()
            peer = server.talk()
            began = time.monotonic()
            code = run.process.wait(20)
            took = time.monotonic() - began
    figure(33, f"hung in the sound library: ended for a restart after {took:.1f} s")
    assert code == 70
    assert took < 14 + 1


def call(peer: Peer, name: str, number: str, **parameters: object) -> dict[str, Any]:
    """A client tool's answer."""
    event = {"tool_name": name, "tool_call_id": number, "parameters": parameters}
    peer.say({"type": "client_tool_call", "client_tool_call": event})
    while (said := peer.read()).get("tool_call_id") != number:
        pass
    return said


# ------------------------------------------------------------------------------- time
def listen(peer: Peer, seconds: float) -> tuple[float, float]:
    """How much of the audio of that time comes in it; and the longest pause between two messages (s)."""
    began = last = time.monotonic()
    size, pause_s = 0, 0.0
    while last - began < seconds:
        size += len(peer.read_audio())
        now = time.monotonic()
        pause_s, last = max(pause_s, now - last), now
    return size / 2 / 16_000 / seconds, pause_s


def test_row_58_three_times_the_load(cards: VirtualCards, figure: Keep) -> None:
    """Six processes that never rest, on two cores: the conversation stands, and its audio comes in time.

    Sabotage: a process that is stopped for a moment is missed.
    """
    server = Server()
    with started(cards.environ, server) as run:
        peer = server.talk()
        with busy(BUSY):
            share, longest = listen(peer, LOAD_S)
        server.listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
        assert not list(run.home.glob("flight-*"))  # who is replaced is noted there
        run.process.send_signal(signal.SIGSTOP)
        threading.Timer(1.5 * LATE_S, run.process.send_signal, (signal.SIGCONT,)).start()
        _, missed = listen(peer, LATE_S)
    figure(58, f"not disconnected, {100 * share:.0f} % of the audio, no pause above {1000 * longest:.0f} ms")
    assert 0.9 < share < 1.1
    assert longest < LATE_S < missed
