"""Rows of the fault table that a real server, a real signal or a real network brings about.

The device is a process of its own. Rows that only wait run at the same time (`waits`).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bed import Server, pause, started, until_closed
from link_peer import PING, PONG, TEXT, Peer, frame
from waiting import FAILURES, NAMES, turns_red

from device_agent.bench.authority import Authority
from device_agent.bench.virtual_audio import VirtualCards

Keep = Callable[[int, str], None]
NOISE_S = 1.0  # this machine is shared; the bound itself is in the table
AT_ONCE = 20
START_S = 0.4  # of this machine, for each start: who begins together starves together
ENDLESS = 20e6


# ------------------------------------------------------------------------------- rows that wait
class Stairs:
    """One after another begins, a little later than the one before."""

    def __init__(self) -> None:
        self._next = threading.Lock()

    def __call__(self, measure: Callable[..., Any], *arguments: Any) -> Any:
        with self._next:
            pause(START_S)
        return measure(*arguments)


@pytest.fixture(scope="module")
def waits(cards: VirtualCards) -> Iterator[dict[str, Future[Any]]]:
    """Honest and spoilt, all at the same time: they hardly do anything else than wait."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begin = Stairs()
        honest = {name: pool.submit(begin, wait.measure, cards.environ, "") for name, wait in NAMES.items()}
        spoilt = {f"not {name}": pool.submit(begin, turns_red, wait, cards.environ) for name, wait in NAMES.items()}
        yield honest | spoilt


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_waits(cards: VirtualCards, waits: dict[str, Future[Any]], figure: Keep, name: str) -> None:
    """What was measured is within the row's bound; if not in the crowd, then alone."""
    wait, found = NAMES[name], None
    with suppress(*FAILURES):
        found = waits[name].result(120)
    if found is None or not wait.holds(found):
        found = wait.measure(cards.environ, "")
    figure(wait.row, wait.says(found))
    assert wait.holds(found), found


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_waits_can_be_red(waits: dict[str, Future[Any]], name: str) -> None:
    """Sabotage: the same measurement of a program that was spoilt is out of its bound."""
    assert waits[f"not {name}"].result(120)


# ------------------------------------------------------------------------------- rows that strike
@pytest.mark.parametrize(("row", "how"), [(1, "reset"), (2, "fin")])
def test_rows_1_and_2_a_lost_connection(cards: VirtualCards, figure: Keep, row: int, how: str) -> None:
    """RST or FIN in mid-conversation: the next connection is begun within 1.3 s."""
    server = Server()
    with started(cards.environ, server):
        peer = server.talk()
        began = time.monotonic()
        peer.reset() if how == "reset" else peer.sock.close()
        server.accept()
        took = time.monotonic() - began
    figure(row, f"{took:.2f} s")
    assert took < 1.3 + NOISE_S


def pour(peer: Peer, most: float) -> float:
    """How many bytes of an endless answer are taken."""
    sent = 0
    with suppress(OSError):
        peer.sock.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000000000\r\n\r\n")
        while sent < most:
            sent += peer.sock.send(bytes(65536))
    return sent


def read_all(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(2**20):
            pass


def test_row_12_an_endless_answer(cards: VirtualCards, figure: Keep) -> None:
    """An error body of 100 GB is cut off, and costs no memory. Sabotage: somebody who reads all of it is seen."""
    server = Server()
    with started(cards.environ, server) as run:
        peer = server.accept()
        peer.read_request()
        before = run.rss_mb
        sent = pour(peer, ENDLESS)
        grown = run.rss_mb - before
    figure(12, f"cut off after {sent / 1e6:.1f} MB, RSS {grown:+.1f} MB")
    assert sent < ENDLESS
    assert grown < 6  # the first connection also loads code; the endless body would be thousands
    greedy = Server()
    with socket.create_connection((greedy.host, greedy.port)) as sock:
        threading.Thread(target=read_all, args=(sock,), daemon=True).start()
        assert pour(greedy.accept(), ENDLESS) >= ENDLESS


def test_row_13_a_redirect_is_not_followed(cards: VirtualCards, figure: Keep) -> None:
    """Nobody connects to where a redirect points. Sabotage: somebody who does is seen."""
    server, other = Server(), Server()
    other.listener.settimeout(2.0)
    with started(cards.environ, server):
        peer = server.accept()
        peer.read_request()
        peer.answer("302 Found", b"", f"Location: ws://127.0.0.1:{other.port}/")
        with pytest.raises(TimeoutError):
            other.accept()
        socket.create_connection((other.host, other.port)).close()
        other.accept()
    figure(13, "0 connections to the target")


@pytest.mark.parametrize(
    ("name", "host", "options"),
    [("other", "10.0.0.1", {}), ("own", "127.0.0.1", {"issued": False}),
     ("old", "127.0.0.1", {"lifetime": ("20200101000000Z", "20210101000000Z")})],
)  # fmt: skip
def test_row_15_a_certificate_that_is_not_trusted(
    cards: VirtualCards, figure: Keep, tmp_path: Path, name: str, host: str, options: dict[str, Any]
) -> None:
    """Wrong host, self-signed, expired: the handshake is broken off, and no byte of ours is sent."""
    authority = Authority(tmp_path)
    context = authority.server(authority.certificate(name, host, **options))
    server = Server()
    with started(cards.environ, server, f"server.ca_file={authority.ca_file}", scheme="wss") as run:
        sock, _ = server.listener.accept()
        sock.settimeout(5)
        with pytest.raises(OSError, match=r"(?i)alert|eof|certificate"):
            context.wrap_socket(sock, server_side=True).recv(1)
        while not any("certificate" in text for _, text in list(run.systemd.heard)):
            pause(0.05)
    figure(15, "0 application bytes")


def test_row_15_sees_who_trusts_everybody(cards: VirtualCards, tmp_path: Path) -> None:
    """Sabotage: a program that takes any certificate sends its request."""
    context = (authority := Authority(tmp_path)).server(authority.certificate("own", "127.0.0.1", issued=False))
    server = Server(tls=context)
    with started(cards.environ, server, scheme="wss", sabotage="trusting"):
        assert server.accept().read_request().startswith("GET ")


def pongs(environ: dict[str, str], sabotage: str = "") -> list[float]:
    """How long the answers to forty pings took (ms), while audio goes out without a pause."""
    server = Server()
    took: list[float] = []
    with started(environ, server, sabotage=sabotage):
        peer = server.talk()
        for n in range(40):
            began = time.monotonic()
            peer.frame(PING, str(n).encode())
            while peer.read_frame()[0] != PONG:
                pass
            took.append(1000 * (time.monotonic() - began))
    return sorted(took)


def test_row_25_pongs_under_a_full_uplink(cards: VirtualCards, figure: Keep) -> None:
    """Each WebSocket ping is answered within 50 ms (median). Sabotage: a sluggish link thread is seen as one."""
    took = pongs(cards.environ)
    figure(25, f"median {took[20]:.1f} ms, worst {took[-1]:.0f} ms")
    assert took[20] < 50 < pongs(cards.environ, sabotage="sluggish")[20]


def test_row_28_a_frame_of_a_terabyte(cards: VirtualCards, figure: Keep) -> None:
    """A header that declares 2^40 bytes ends the connection before any of them is waited for."""
    server = Server()
    with started(cards.environ, server) as run:
        peer = server.talk()
        before = run.rss_mb
        peer.sock.sendall(b"\x81\x7f" + (2**40).to_bytes(8, "big"))
        began = time.monotonic()
        until_closed(peer)
        took, grown = time.monotonic() - began, run.rss_mb - before
    figure(28, f"{1000 * took:.0f} ms, RSS {grown:+.1f} MB")
    assert took < 0.5
    assert grown < 4


def test_the_witness_of_frames_is_no_blind_one(cards: VirtualCards) -> None:
    """Sabotage of rows 1, 2 and 28: a legal frame and a quiet second end no connection."""
    server = Server()
    with started(cards.environ, server):
        peer = server.talk()
        peer.sock.sendall(frame(TEXT, b"{}"))
        server.listener.settimeout(1.5)
        with pytest.raises(TimeoutError):
            server.accept()
        assert peer.read()
