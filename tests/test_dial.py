"""From a name to a connected socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from device_agent.link.dial import Address, Dialer, LookupFailed, begin
from device_agent.link.waiting import Aborted, Attempt, Overdue, Wakeup

URL = urlsplit("ws://agent.test:1")
V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    made = Wakeup()
    yield made
    made.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


class Clock:
    """Moves on by a step whenever it is read, and ends the wait that follows: waiting costs no time."""

    def __init__(self, wakeup: Wakeup | None = None, step: float = 0.0) -> None:
        self._now = 0.0
        self._wakeup = wakeup
        self._step = step

    def __call__(self) -> float:
        self._now += self._step
        if self._wakeup:
            self._wakeup.set()
        return self._now


class Net:
    """A dialer for addresses by name: `good` connects, `dead` never answers, `refused` refuses."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.sockets: list[socket.socket] = []

    def __call__(self, address: Address) -> socket.socket:
        self.dialled.append(address[1])
        if address[1].startswith("refused"):
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        if address[1].startswith("dead"):
            try:
                while True:
                    ours.send(bytes(65536))
            except BlockingIOError:
                pass  # full: poll never finds it writable, as a socket that nobody answers
        self.sockets += [ours, theirs]
        return ours

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    yield made
    made.close()


def _dial(
    wakeup: Wakeup, net: Net, names: list[tuple[int, str]], clock: Callable[[], float] | None = None, **more
) -> None:
    dialer = Dialer(wakeup, resolver=lambda host, port: [(f, name, port) for f, name in names], connector=net)
    dialer.dial(URL, Attempt(wakeup, 10.0, clock or Clock(), aborted=lambda: False, **more)).close()


def test_the_next_address_is_tried_after_a_quarter_of_a_second(wakeup: Wakeup, net: Net):
    """An address that does not answer keeps nobody waiting longer."""
    _dial(wakeup, net, [(V4, "dead"), (V4, "good")], Clock(wakeup, 0.05))
    assert net.dialled == ["dead", "good"]


def test_a_refusal_tries_the_next_address_at_once(wakeup: Wakeup, net: Net):
    """The clock stands still here."""
    _dial(wakeup, net, [(V4, "refused"), (V4, "refused 2"), (V4, "good"), (V4, "never")])
    assert net.dialled == ["refused", "refused 2", "good"]


def test_families_take_turns(wakeup: Wakeup, net: Net):
    """IPv6 without a route does not keep IPv4 waiting behind all of its addresses."""
    _dial(wakeup, net, [(V6, "refused a"), (V6, "refused b"), (V4, "good"), (V4, "never")])
    assert net.dialled == ["refused a", "good"]


def test_when_every_address_fails_the_last_reason_counts(wakeup: Wakeup, net: Net):
    """And without any answer the attempt's own deadline does."""
    with pytest.raises(ConnectionRefusedError):
        _dial(wakeup, net, [(V4, "refused")])
    with pytest.raises(Overdue) as caught:
        _dial(wakeup, net, [(V4, "dead")], Clock(wakeup, 0.5))
    assert caught.value.phase == "tcp"


def test_the_losers_of_the_race_are_closed(wakeup: Wakeup, net: Net):
    """No descriptor is left behind."""
    _dial(wakeup, net, [(V4, "dead"), (V4, "dead 2"), (V4, "good")], Clock(wakeup, 0.05))
    assert [sock.fileno() for sock in net.sockets[::2]] == [-1, -1, -1]


def test_a_resolver_that_hangs_is_given_up_after_three_seconds(wakeup: Wakeup, net: Net):
    """One thread waits for it, however often we try; the last good addresses serve meanwhile."""
    hang, calls = threading.Event(), []

    def resolver(host: str, port: int) -> list[Address]:
        calls.append(host)
        if len(calls) > 1:
            hang.wait(5)
        return [(V4, "good", port)]

    dialer = Dialer(wakeup, resolver=resolver, connector=net)

    def attempt() -> Attempt:
        return Attempt(wakeup, 10.0, Clock(wakeup, 0.2), aborted=lambda: False)

    dialer.dial(URL, attempt()).close()
    dialer.dial(URL, attempt()).close()
    dialer.dial(URL, attempt()).close()
    assert calls == ["agent.test"] * 2
    hang.set()


def test_a_name_that_was_never_known_fails(wakeup: Wakeup, net: Net):
    """No address, or an answer that is none."""

    def unknown(host: str, port: int) -> list[Address]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(LookupFailed):
        Dialer(wakeup, resolver=unknown, connector=net).dial(URL, Attempt(wakeup, 10.0, Clock(), aborted=lambda: False))
    with pytest.raises(LookupFailed):
        _dial(wakeup, net, [])


def test_a_numeric_address_asks_no_resolver(wakeup: Wakeup, listener: socket.socket):
    """Also one of IPv6."""

    def never(host: str, port: int) -> list[Address]:
        raise AssertionError(host)

    port = listener.getsockname()[1]
    dialer = Dialer(wakeup, resolver=never)
    attempt = Attempt(wakeup, 10.0, Clock(), aborted=lambda: False)
    dialer.dial(urlsplit(f"ws://127.0.0.1:{port}"), attempt).close()
    assert listener.accept()[0].close() is None


def test_the_socket_holds_little_and_sends_at_once(listener: socket.socket):
    """The options that keep stale audio out of the kernel."""
    sock = begin((V4, "127.0.0.1", listener.getsockname()[1]))
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 32 * 1024
    assert sock.gettimeout() == 0
    sock.close()


def test_an_abort_ends_the_wait(wakeup: Wakeup, net: Net):
    """The wake-up makes the attempt look whether it is still wanted."""
    aborted = threading.Event()
    attempt = Attempt(wakeup, 10.0, Clock(), aborted.is_set)
    aborted.set()
    wakeup.set()
    with pytest.raises(Aborted):
        attempt.wait({})


def test_a_wakeup_without_an_abort_goes_on(wakeup: Wakeup):
    """Many wake-ups are one."""
    for _ in range(10_000):
        wakeup.set()
    attempt = Attempt(wakeup, 10.0, Clock(), aborted=lambda: False)
    assert attempt.wait({}) == []
    wakeup.set()
    wakeup.wait()
