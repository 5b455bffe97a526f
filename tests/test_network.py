"""Addresses that come and go are heard from the real kernel, and a connection without its address ends at once."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys

import pytest

from device_agent.link.network import Change, parse

PROGRAM = """
import select, subprocess, sys, time
sys.path.insert(0, "tests")
from link_peer import rig
from device_agent.core.events import LinkEnded, NetworkUp

def ip(*words):
    subprocess.run(("ip", *words), check=True)

ip("link", "set", "lo", "up")
with rig(host="10.9.8.7") as bed:
    bed.listener.close()
    import socket
    bed.link.rouse()
    time.sleep(0.2)
    ip("address", "add", "10.9.8.7/32", "dev", "lo")
    bed.events.next(NetworkUp)
    bed.listener = socket.create_server(("10.9.8.7", bed.port))
    bed.listener.settimeout(5)
    bed.open()
    ip("address", "add", "10.9.8.6/32", "dev", "lo")
    began = time.monotonic()
    ip("address", "del", "10.9.8.7/32", "dev", "lo")
    print(bed.end().reason, time.monotonic() - began < 1.0)
"""


def may_make_networks() -> bool:
    if not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return subprocess.run(("unshare", "-n", "true"), capture_output=True).returncode == 0


@pytest.mark.skipif(not may_make_networks(), reason="needs the right to make network namespaces")
def test_addresses_of_a_real_network() -> None:
    """In a network of its own: an address that comes is told; the connection ends as its own address goes."""
    found = subprocess.run(("unshare", "-n", sys.executable, "-c", PROGRAM), capture_output=True, text=True, timeout=30)
    assert found.stdout == "this machine's address is gone True\n", found.stderr


def message(kind: int, address: bytes, scope: int = 0, attribute: int = 2) -> bytes:
    body = struct.pack("=BBBBI", 2, 24, 0, scope, 1) + struct.pack("=HH", 4 + len(address), attribute) + address
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_what_the_kernel_says_is_taken_apart() -> None:
    """Several messages in a datagram; IPv6; local scopes, other kinds and broken ones are passed over."""
    four, six = bytes([10, 0, 0, 1]), bytes(15) + b"\1"
    data = message(20, four) + message(21, six, attribute=1) + message(20, four, scope=254) + message(16, four)
    assert list(parse(data)) == [Change("10.0.0.1", False), Change("::1", True)]
    for broken in (b"", b"x", struct.pack("=IHHII", 0, 20, 0, 0, 0), message(20, b"123"), message(20, four)[:-6]):
        assert list(parse(broken)) == []
