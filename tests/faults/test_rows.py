"""Rows of the fault table that a real server, a real signal or a real network brings about.

The device is a process of its own. Rows that only wait run at the same time (`waits`).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bed import Server, pause, started, until_closed
from link_peer import PING, PONG, TEXT, frame

from device_agent.bench.authority import Authority
from device_agent.bench.virtual_audio import VirtualCards

Keep = Callable[[int, str], None]
NOISE_S = 1.0  # this machine is shared; the bound itself is in the table


# ------------------------------------------------------------------------------- rows that wait
def half_open(environ: dict[str, str]) -> float:
    """Row 3: no packet comes any more, while the device's own leave: a route swallows the answers."""
    name = f"da{os.getpid() % 10000}"

    def ip(*words: str) -> None:
        subprocess.run(("ip", *words), check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("address", "add", "10.254.77.1/30", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        for words in (("address", "add", "10.254.77.2/30", "dev", f"{name}b"), ("link", "set", f"{name}b", "up")):
            ip("-n", name, *words)
        with tempfile.TemporaryDirectory() as directory:
            authority = Authority(Path(directory))
            server = Server("10.254.77.1", tls=authority.server(authority.certificate("far", "10.254.77.1")))
            trust = f"server.ca_file={authority.ca_file}"
            with started(environ, server, trust, scheme="wss", prefix=("ip", "netns", "exec", name)) as run:
                peer = server.talk()
                pause(0.5)
                assert run.connected(server)
                ip("route", "add", "blackhole", "10.254.77.2/32")  # what the server's side answers is swallowed
                took = run.hangs_up(server)
                peer.sock.close()
                return took
    finally:
        subprocess.run(("ip", "route", "del", "blackhole", "10.254.77.2/32"), capture_output=True)
        ip("netns", "delete", name)


def zero_window(environ: dict[str, str]) -> float:
    """Row 4: the peer acknowledges and never reads."""
    server = Server(receive_buffer=4096)
    with started(environ, server) as run:
        peer = server.talk()
        assert peer.sock.fileno() >= 0  # open, and never read again
        return run.hangs_up(server)


def tls_silence(environ: dict[str, str]) -> float:
    """Row 10: TCP is accepted, TLS never answers."""
    server = Server()
    with started(environ, server, scheme="wss"):
        peer = server.accept()
        began = time.monotonic()
        return until_closed(peer) - began


def drip(environ: dict[str, str]) -> float:
    """Row 11: the answer to the upgrade comes at one byte in 0.4 s."""
    server = Server()
    with started(environ, server):
        peer = server.accept()
        began = time.monotonic()
        peer.read_request()
        try:
            for byte in b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n":
                peer.sock.sendall(bytes([byte]))
                pause(0.4)
        except OSError:
            return time.monotonic() - began
        raise AssertionError("never given up")


def silent_after_upgrade(environ: dict[str, str]) -> float:
    """Row 24: no metadata."""
    server = Server()
    with started(environ, server):
        peer = server.accept()
        peer.upgrade()
        began = time.monotonic()
        return until_closed(peer) - began


def retry_after(environ: dict[str, str]) -> list[float]:
    """Row 18: HTTP 429 with Retry-After."""
    server = Server()
    with started(environ, server):
        peer = server.accept()
        peer.read_request()
        peer.answer("429 Too Many Requests", b"", "Retry-After: 7")
        peer.sock.close()
        began = time.monotonic()
        server.accept()
        return [time.monotonic() - began]


def unauthorised(environ: dict[str, str]) -> int:
    """Row 17: HTTP 401; attempts within 12 s."""
    server = Server()
    with started(environ, server):
        return len(server.attempts(12.0, "401 Unauthorized"))


def unavailable(environ: dict[str, str]) -> list[float]:
    """Row 19: HTTP 503; attempts within 12 s, then the server is back."""
    server = Server()
    with started(environ, server):
        times = server.attempts(12.0, "503 Service Unavailable")
        began = time.monotonic()
        server.talk()
        return [float(len(times)), time.monotonic() - began]


WAITS = {
    f.__name__: f
    for f in (half_open, zero_window, tls_silence, drip, silent_after_upgrade, retry_after, unauthorised, unavailable)
}


@pytest.fixture(scope="module")
def waits(cards: VirtualCards) -> Iterator[dict[str, Future[Any]]]:
    with ThreadPoolExecutor(len(WAITS)) as pool:
        yield {name: pool.submit(f, cards.environ) for name, f in WAITS.items()}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="makes a network namespace")
def test_row_3_a_black_hole_while_talking(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """A link that swallows all packets is noticed within 6 s while audio goes out."""
    took = waits["half_open"].result(60)
    figure(3, f"{took:.1f} s while talking")
    assert took < 6 + NOISE_S


def test_row_4_a_peer_that_does_not_read(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """A peer that acknowledges and never reads gets 12 s."""
    took = waits["zero_window"].result(60)
    figure(4, f"{took:.1f} s")
    assert 5 < took < 12 + 2 + NOISE_S  # the window is full a moment after the server stops reading


def test_row_10_tls_that_never_answers(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """The whole attempt is given up after 10 s."""
    took = waits["tls_silence"].result(60)
    figure(10, f"{took:.1f} s")
    assert 9 < took < 10.5 + NOISE_S


def test_row_11_an_answer_in_drips(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """A byte now and then does not prolong the deadline of the whole."""
    took = waits["drip"].result(60)
    figure(11, f"{took:.1f} s")
    assert 9 < took < 10.5 + NOISE_S


def test_row_17_a_refused_key_is_not_hammered(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """One attempt, and the next after 15 minutes; the fake clock shows the rest of the hour."""
    count = waits["unauthorised"].result(60)
    figure(17, f"{count} attempt in 12 s (real), then every 15 min (fake clock)")
    assert count == 1


def test_row_18_the_servers_wish_is_kept(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """Retry-After: 7 means 7 s, and up to a quarter more."""
    (took,) = waits["retry_after"].result(60)
    figure(18, f"{took:.1f} s")
    assert 6.9 < took < 8.8 + NOISE_S


def test_row_19_a_server_that_comes_back(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """After 12 s of 503 the conversation stands again within the growing delay."""
    count, took = waits["unavailable"].result(90)
    figure(19, f"back {took:.1f} s after 12 s of 503 ({count:.0f} attempts)")
    assert took < 32 + NOISE_S
    assert 2 <= count <= 20


def test_row_24_no_metadata(waits: dict[str, Future[Any]], figure: Keep) -> None:
    """A server that upgrades and says nothing is left after 5 s."""
    took = waits["silent_after_upgrade"].result(60)
    figure(24, f"{took:.1f} s")
    assert 4.5 < took < 5 + NOISE_S


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


def test_row_12_an_endless_answer(cards: VirtualCards, figure: Keep) -> None:
    """An error body of 100 GB is cut off, and costs no memory."""
    server = Server()
    with started(cards.environ, server) as run:
        peer = server.accept()
        peer.read_request()
        before, sent = run.rss_mb, 0
        peer.sock.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000000000\r\n\r\n")
        try:
            while True:
                sent += peer.sock.send(bytes(65536))
        except OSError:
            grown = run.rss_mb - before
    figure(12, f"cut off after {sent / 1e6:.1f} MB, RSS {grown:+.1f} MB")
    assert sent < 20e6
    assert grown < 6  # the first connection also loads code; the endless body would be thousands


def test_row_13_a_redirect_is_not_followed(cards: VirtualCards, figure: Keep) -> None:
    """Nobody connects to where a redirect points."""
    server, other = Server(), Server()
    other.listener.settimeout(2.0)
    with started(cards.environ, server):
        peer = server.accept()
        peer.read_request()
        peer.answer("302 Found", b"", f"Location: ws://127.0.0.1:{other.port}/")
        with pytest.raises(TimeoutError):
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


def test_row_25_pongs_under_a_full_uplink(cards: VirtualCards, figure: Keep) -> None:
    """While audio goes out without a pause, each WebSocket ping is answered within 50 ms (median)."""
    server = Server()
    took: list[float] = []
    with started(cards.environ, server):
        peer = server.talk()
        for n in range(40):
            began = time.monotonic()
            peer.frame(PING, str(n).encode())
            while peer.read_frame()[0] != PONG:
                pass
            took.append(1000 * (time.monotonic() - began))
    took.sort()
    figure(25, f"median {took[20]:.1f} ms, worst {took[-1]:.0f} ms")
    assert took[20] < 50


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


def test_row_47_nobody_reads_the_log(cards: VirtualCards, figure: Keep) -> None:
    """Standard output is a full pipe: lines are dropped, and the audio goes on in real time."""
    server = Server()
    with started(cards.environ, server, "log.level=debug", stdout=subprocess.PIPE):
        peer = server.talk()
        for n in range(3000):  # each unknown type is a line
            peer.say({"type": f"from_the_future_{n}_{'x' * 60}"})
        began, size = time.monotonic(), 0
        while time.monotonic() - began < 4:
            size += len(peer.read_audio())
    share = size / 2 / 16_000 / 4
    figure(47, f"{100 * share:.0f} % of the audio in time")
    assert 0.85 < share < 1.15


def test_row_52_sigterm_at_any_moment(cards: VirtualCards, figure: Keep) -> None:
    """Twelve moments from the start on: exit code 0 each time, and never more than 2 s. Sabotage: SIGKILL is no 0."""
    rng, took = random.Random(52), []
    for n in range(13):
        server = Server()
        with started(cards.environ, server) as run:
            if n % 3:
                server.talk() if n % 3 == 1 else server.accept()
            pause(0.6 + rng.random())  # the handlers stand by then
            if n == 12:
                assert run.stop(signal.SIGKILL)[1] == -signal.SIGKILL
                break
            seconds, code = run.stop()
            assert code == 0
            took.append(seconds)
        server.close()
    took.sort()
    figure(52, f"median {1000 * took[6]:.0f} ms, worst {1000 * took[-1]:.0f} ms, 12 of 12")
    assert took[-1] < 2 + NOISE_S


def test_row_56_a_stopped_process_pings_no_more(cards: VirtualCards, figure: Keep) -> None:
    """SIGSTOP: the watchdog's pings cease, so that systemd ends the process after 10 s."""
    server = Server()
    with started(cards.environ, server) as run:
        server.talk()
        run.process.send_signal(signal.SIGSTOP)
        pause(0.3)
        before = len(run.systemd.times("WATCHDOG=1"))
        pause(3.5)
        assert len(run.systemd.times("WATCHDOG=1")) == before
    figure(56, "no ping after the stop; systemd's limit is 10 s")


def test_row_57_c_code_that_holds_the_interpreter(cards: VirtualCards, figure: Keep, tmp_path: Path) -> None:
    """A tool calls C that keeps the GIL: the stacks are written by a handler in C, and the process is gone in 10 s.

    Sabotage: a tool that sleeps without the GIL does not disturb anybody.
    """
    tools = tmp_path / "greedy.py"
    tools.write_text(
        "import ctypes, time\nfrom device_agent import tool\n\n"
        "@tool\ndef hold(greedy: bool) -> str:\n"
        '    """Sleep."""\n'
        "    ctypes.PyDLL(None).sleep(60) if greedy else time.sleep(12)\n    return 'x'\n"
    )
    server = Server()
    with started(cards.environ, server, f"tools.files={tools}") as run:
        peer = server.talk()

        def call(greedy: bool) -> None:
            event = {"tool_name": "hold", "tool_call_id": f"c{greedy}", "parameters": {"greedy": greedy}}
            peer.say({"type": "client_tool_call", "client_tool_call": event})

        call(False)
        pause(1.0)
        assert run.process.poll() is None
        began = time.monotonic()
        call(True)
        code = run.process.wait(20)
        took = time.monotonic() - began
        stacks = (run.home / "errors").read_text()
    figure(57, f"stacks and end after {took:.1f} s")
    assert code == -signal.SIGALRM
    assert "greedy.py" in stacks
    assert took < 10.1 + NOISE_S


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
