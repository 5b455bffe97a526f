"""Rows in which the machine has too little to give: descriptors, memory, threads, time of its processors."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bed import Run, Server, busy, pause, started
from link_peer import CLOSE, METADATA, Peer
from scarce import no_threads

from device_agent.bench.virtual_audio import VirtualCards
from device_agent.control.client import Client

Keep = Callable[[int, str], None]
DESCRIPTORS = 64  # with its clients the program uses 46
WARM, RECONNECTS = 50, 1000
FACTS = 14_000  # fill the flight recorder, which grows until then
GROWTH_MB = 1.0
CLIENTS = 14  # each may ask 50 times a second
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
