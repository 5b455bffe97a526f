"""Rows that take their time: each is measured beside the others, and once more with a program that is spoilt.

A measurement starts the program, plays the other end, and returns what it found; `holds` says whether that is within
the row's bound. With `sabotage` it must not be: what comes too late is given up a little after the bound.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bed import Run, Server, pause, started, until_closed
from link_peer import CLOSE, Peer
from places import (
    Net,
    all_hang,
    button,
    clock_jumps,
    disk_full,
    far,
    greedy,
    ip,
    no_network,
    read_only,
    roaming,
    unread,
)
from scarce import blocked, starved

from device_agent.bench.authority import Authority
from device_agent.errors import DeviceAgentError

NOISE_S = 1.0  # this machine is shared; the bound itself is in the table
WATCH_S = 12.0  # so long attempts are counted
VALID_IN_S = 9
Environ = dict[str, str]


def half_open(environ: Environ, sabotage: str) -> float:
    """Row 3: no packet comes any more, while the device's own leave: a route swallows the answers."""
    with Net(1 + bool(sabotage)) as net, far(net) as (server, trust):
        net.plug(2)
        with started(environ, server, trust, scheme="wss", prefix=net.prefix, sabotage=sabotage) as run:
            peer = server.talk()
            pause(0.5)
            assert run.connected(server)
            ip("route", "add", "blackhole", f"{net.at(2)}/32")  # what the server's side answers is swallowed
            try:
                return run.hangs_up(server, 6 + NOISE_S)
            finally:
                ip("route", "del", "blackhole", f"{net.at(2)}/32")
                peer.sock.close()


def zero_window(environ: Environ, sabotage: str) -> float:
    """Row 4: the peer acknowledges and never reads. The window is full a moment after the server stops reading."""
    server = Server(receive_buffer=4096)
    with started(environ, server, sabotage=sabotage) as run:
        peer = server.talk()
        assert peer.sock.fileno() >= 0  # open, and never read again
        return run.hangs_up(server, 12 + 2 + NOISE_S)


def given_up(peer: Peer, seconds: float) -> float:
    """When the device hangs up, at most a little after that time."""
    peer.sock.settimeout(seconds + NOISE_S)
    began = time.monotonic()
    return until_closed(peer) - began


def tls_silence(environ: Environ, sabotage: str) -> float:
    """Row 10: TCP is accepted, TLS never answers."""
    server = Server()
    with started(environ, server, scheme="wss", sabotage=sabotage):
        return given_up(server.accept(), 10.5)


def drip(environ: Environ, sabotage: str) -> float:
    """Row 11: the answer to the upgrade comes at one byte in 0.4 s."""
    server = Server()
    with started(environ, server, sabotage=sabotage):
        peer = server.accept()
        began = time.monotonic()
        peer.read_request()
        with suppress(OSError):
            for byte in b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n":
                peer.sock.sendall(bytes([byte]))
                pause(0.4)
        return time.monotonic() - began


def silent_after_upgrade(environ: Environ, sabotage: str) -> float:
    """Row 24: no metadata."""
    server = Server()
    with started(environ, server, sabotage=sabotage):
        peer = server.accept()
        peer.upgrade()
        return given_up(peer, 5.0)


def retry_after(environ: Environ, sabotage: str) -> float:
    """Row 18: HTTP 429 with Retry-After: 7, and up to a quarter more."""
    server = Server()
    with started(environ, server, sabotage=sabotage):
        peer = server.accept()
        peer.read_request()
        peer.answer("429 Too Many Requests", b"", "Retry-After: 7")
        peer.sock.close()
        began = time.monotonic()
        server.accept()
        return time.monotonic() - began


def unauthorised(environ: Environ, sabotage: str) -> float:
    """Row 17: HTTP 401; attempts within 12 s. The fake clock shows the rest of the hour."""
    server = Server()
    with started(environ, server, sabotage=sabotage):
        return len(server.attempts(WATCH_S, lambda peer: refuse(peer, "401 Unauthorized")))


def captive_portal(environ: Environ, sabotage: str) -> float:
    """Row 16: a page of HTML in place of the upgrade; attempts within 12 s, and the conversation once it is gone."""
    server = Server()
    with started(environ, server, sabotage=sabotage) as run:
        count = len(server.attempts(WATCH_S, lambda peer: refuse(peer, "200 OK", b"<html>Log in!</html>")))
        with run.control() as client:
            client.ask("talk")  # who has logged in does not wait for the next attempt
        server.talk()
        return count


def quota(environ: Environ, sabotage: str) -> float:
    """Row 20: close 1002 with the quota's text; attempts within 12 s. The fake clock shows the rest of the hour."""
    return closed_at_once(environ, sabotage, 1002, b"This request exceeds your quota limit.")


def policy(environ: Environ, sabotage: str) -> float:
    """Row 21: close 1008 each time; attempts until nobody tries any more."""
    return closed_at_once(environ, sabotage, 1008, b"no")


def dies_young(environ: Environ, sabotage: str) -> float:
    """Row 22: every conversation dies as soon as it is open; attempts within 12 s."""
    return closed_at_once(environ, sabotage, 1011, b"internal")


def closed_at_once(environ: Environ, sabotage: str, code: int, reason: bytes) -> float:
    def close(peer: Peer) -> None:
        peer.upgrade()
        peer.frame(CLOSE, struct.pack("!H", code) + reason)
        until_closed(peer)  # to the end: a reset could overtake the frame

    server = Server()
    with started(environ, server, sabotage=sabotage):
        return len(server.attempts(WATCH_S, close))


def refuse(peer: Peer, status: str, body: bytes = b"") -> None:
    peer.read_request()
    peer.answer(status, body)


def unavailable(environ: Environ, sabotage: str) -> tuple[int, float]:
    """Row 19: HTTP 503; attempts within 6 s, and how long until the conversation stands when the server is back."""
    server = Server()
    with started(environ, server, sabotage=sabotage):
        times = server.attempts(WATCH_S / 2, lambda peer: refuse(peer, "503 Service Unavailable"))
        server.listener.settimeout(60 + NOISE_S)
        began = time.monotonic()
        server.talk()
        return len(times), time.monotonic() - began


def not_yet_valid(environ: Environ, sabotage: str) -> float:
    """Row 14: a certificate that will be valid in some seconds, as it looks to a clock that is late; from then on."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        valid = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=VALID_IN_S)
        dates = [f"{moment:%Y%m%d%H%M%SZ}" for moment in (valid, valid + timedelta(days=1))]
        lifetime = (dates[0], dates[1])
        server = Server(tls=authority.server(authority.certificate("own", "127.0.0.1", lifetime=lifetime)))
        trust = f"server.ca_file={authority.ca_file}"
        with started(environ, server, trust, scheme="wss", sabotage=sabotage):
            refused = 0
            while datetime.now(UTC) < valid + timedelta(seconds=6 + NOISE_S):
                try:
                    server.talk()
                except OSError:
                    refused += 1
                    continue
                assert refused
                return (datetime.now(UTC) - valid).total_seconds()
    raise AssertionError("never trusted")


def stopped(environ: Environ, sabotage: str) -> float:
    """Row 56: the process is stopped (SIGSTOP); pings of the watchdog in the 3.5 s after it."""
    server = Server()
    with started(environ, server) as run:
        server.talk()
        run.systemd.hears("WATCHDOG=1")
        if not sabotage:
            run.process.send_signal(19)
        pause(0.3)
        before = pings(run)
        pause(3.5)
        return pings(run) - before


def pings(run: Run) -> int:
    return len(run.systemd.times("WATCHDOG=1"))


@dataclass(frozen=True)
class Wait:
    """A row's measurement, what is said of it, whether it holds, and what spoils it."""

    row: int
    measure: Callable[[Environ, str], object]
    says: Callable[..., str]
    holds: Callable[..., bool]
    sabotage: str


def seconds(text: str = "{:.1f} s") -> Callable[..., str]:
    return text.format


WAITS = (
    Wait(3, half_open, seconds("{:.1f} s while talking"), lambda s: s < 6 + NOISE_S, "patient"),
    Wait(4, zero_window, seconds(), lambda s: 5 < s < 12 + 2 + NOISE_S, "patient"),
    Wait(10, tls_silence, seconds(), lambda s: 9 < s < 10.5 + NOISE_S, "patient"),
    Wait(11, drip, seconds(), lambda s: 9 < s < 10.5 + NOISE_S, "patient"),
    Wait(14, not_yet_valid, seconds("talking {:.1f} s after it became valid"), lambda s: 0 < s < 6 + NOISE_S, "idle"),
    Wait(16, captive_portal, seconds("{:.0f} attempts in 12 s, then talking"), lambda n: 2 <= n <= 12, "hammer"),
    Wait(17, unauthorised, seconds("{:.0f} attempt in 12 s (real), then every 15 min (fake clock)"),
         lambda n: n == 1, "hammer"),
    Wait(18, retry_after, seconds(), lambda s: 6.9 < s < 8.8 + NOISE_S, "hammer"),
    Wait(19, unavailable, lambda found: f"back {found[1]:.1f} s after 6 s of 503 ({found[0]} attempts)",
         lambda found: 2 <= found[0] <= 12 and found[1] < 60 + NOISE_S, "hammer"),
    Wait(20, quota, seconds("{:.0f} attempt in 12 s (real), then every 15 min (fake clock)"),
         lambda n: n == 1, "hammer"),
    Wait(21, policy, seconds("{:.0f} attempts"), lambda n: n <= 3, "hammer"),
    Wait(22, dies_young, seconds("{:.0f} attempts in the first 12 s"), lambda n: 2 <= n <= 6, "hammer"),
    Wait(24, silent_after_upgrade, seconds(), lambda s: 4.5 < s < 5 + NOISE_S, "patient"),
    Wait(33, blocked, seconds("hung in the sound library: ended for a restart after {:.1f} s"),
         lambda s: s < 14 + NOISE_S, "plenty"),
    Wait(39, button, str, bool, "bouncy"),
    Wait(42, clock_jumps, str, bool, "civil"),
    Wait(43, no_network, seconds("connected {:.1f} s after the link came"), lambda s: s < 3 + NOISE_S, "deaf"),
    Wait(44, roaming, seconds("heard from the new address after {:.1f} s"), lambda s: s < 3 + NOISE_S, "deaf"),
    Wait(45, disk_full, str, lambda found: found.none, "anxious"),
    Wait(46, read_only, str, lambda found: found.none, "anxious"),
    Wait(47, unread, lambda share: f"{100 * share:.0f} % of the audio in time", lambda share: 0.85 < share < 1.15,
         "talkative"),
    Wait(48, starved,
         lambda found: f"4 × 16 MB with no memory: {found[1]} connections lost, heard after {found[0]:.1f} s at most",
         lambda found: found[0] < 8, "die_of_hunger"),
    Wait(53, all_hang, seconds("named and ended after {:.1f} s"), lambda s: s < 6 + NOISE_S, "stubborn"),
    Wait(57, greedy, seconds("stacks and end after {:.1f} s"), lambda s: s < 10.1 + NOISE_S, "modest"),
    Wait(56, stopped, lambda n: "no ping after the stop; systemd's limit is 10 s", lambda n: n == 0, "not stopped"),
)  # fmt: skip
FAILURES = (AssertionError, OSError, DeviceAgentError, subprocess.TimeoutExpired, pytest.fail.Exception)
NAMES = {wait.measure.__name__: wait for wait in WAITS}


def turns_red(wait: Wait, environ: Environ) -> bool:
    """Whether the measurement of a spoilt program is out of its bound, or does not come to an end in time."""
    try:
        return not wait.holds(wait.measure(environ, wait.sabotage))
    except FAILURES:
        return True
