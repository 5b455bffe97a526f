"""sd_notify against a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_agent.system.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_a_status_that_is_no_unicode_arrives_nevertheless(systemd: socket.socket) -> None:
    """It may name a file whose name nobody can write."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.status("config-error: \udcff.toml:2: bad")
    assert systemd.recv(1000) == b"STATUS=config-error: ?.toml:2: bad"
    notifier.close()


def test_each_state_is_one_datagram(systemd: socket.socket) -> None:
    """Ready, status, watchdog, longer and stopping arrive as systemd spells them, each by itself."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.ready()
    notifier.status("in conversation\nwith a café")
    notifier.watchdog()
    notifier.extend_timeout(2.5)
    notifier.stopping()
    assert [systemd.recv(1000).decode() for _ in range(5)] == [
        "READY=1",
        "STATUS=in conversation with a café",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=2500000",
        "STOPPING=1",
    ]
    assert notifier.errors == 0
    notifier.close()


def test_an_abstract_address_begins_with_at() -> None:
    """systemd writes the leading zero byte of an abstract address as "@"."""
    name = f"device-agent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.ready()
        assert receiver.recv(100) == b"READY=1"
        notifier.close()


def test_without_systemd_nothing_happens() -> None:
    """Started by hand there is no $NOTIFY_SOCKET: every call does nothing, and that is no error."""
    notifier = Notifier({})
    notifier.ready()
    notifier.close()
    assert notifier.errors == 0


def test_a_full_socket_does_not_block(systemd: socket.socket) -> None:
    """A systemd that does not read costs lost datagrams, which are counted, and never a wait."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    for _ in range(10_000):
        notifier.watchdog()
        if notifier.errors:
            break
    assert notifier.errors == 1
    notifier.close()


def test_a_vanished_socket_is_counted(tmp_path: Path) -> None:
    """An address where nobody listens raises nothing; the errors are counted."""
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.ready()
    notifier.stopping()
    assert notifier.errors == 2
    notifier.close()


def test_the_socket_is_not_inherited(systemd: socket.socket) -> None:
    """Programs that a tool starts do not get the socket."""
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    assert notifier._socket is not None and not notifier._socket.get_inheritable()
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_interval(environ: dict[str, str], interval: float | None) -> None:
    """The interval is WATCHDOG_USEC in seconds, if it is meant for this process."""
    assert Notifier(environ).watchdog_interval() == interval
