"""Whether this machine's addresses come or go, as the kernel says it (rtnetlink)."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator

from device_agent.records import record

_GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NEW, _GONE = 20, 21  # RTM_NEWADDR, RTM_DELADDR
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS, IFA_LOCAL: on a point-to-point link the first is the peer's
_HEAD = struct.Struct("=IHHII")
_BODY = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_GLOBAL = 0  # scope


@record
class Change:
    """`address` has come to this machine, or gone from it."""

    address: str
    gone: bool


class Network:
    """A socket to poll and to read. Owned by the link thread; never blocks.

    Where the kernel has no rtnetlink, or the service may not use it, nothing is ever said.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError, AttributeError):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._socket.bind((0, _GROUPS))

    def fileno(self) -> int:
        """-1 where there is none: `poll` ignores that."""
        return self._socket.fileno() if self._socket else -1

    def changes(self) -> list[Change]:
        """What has happened since the last call."""
        found: list[Change] = []
        if self._socket is None:
            return found
        with contextlib.suppress(OSError):  # nothing more; or so much that some was lost
            while True:
                found += parse(self._socket.recv(65536))
        return found

    def close(self) -> None:
        if self._socket:
            self._socket.close()


def parse(data: bytes) -> Iterator[Change]:
    """The changes of global addresses in one datagram of the kernel; what is cut off or unknown is passed over."""
    while len(data) >= _HEAD.size:
        length, kind, *_ = _HEAD.unpack_from(data)
        message, data = data[_HEAD.size : length], data[max(_HEAD.size, (length + 3) & ~3) :]
        if kind in (_NEW, _GONE) and len(message) >= _BODY.size:
            *_, scope, _index = _BODY.unpack_from(message)
            address = _address(message[_BODY.size :])
            if address and scope == _GLOBAL:
                yield Change(address, kind == _GONE)


def _address(data: bytes) -> str:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[max(_ATTRIBUTE.size, (length + 3) & ~3) :]
    raw = found.get(_LOCAL, found.get(_ADDRESS, b""))
    return str(ipaddress.ip_address(raw)) if len(raw) in (4, 16) else ""
