"""From a host name to a connected socket: look-up, a race of addresses, TLS."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from urllib.parse import SplitResult

from device_agent.errors import ConfigError
from device_agent.link.conduit import Conduit
from device_agent.link.waiting import Attempt
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.wakeup import Wakeup

Address = tuple[int, str, int]
"""Family, numeric address, port."""
Resolver = Callable[[str, int], Sequence[Address]]
Connector = Callable[[Address], socket.socket]
"""Begins a connection and returns its non-blocking socket. Raises OSError."""

STAGGER_S = 0.25  # RFC 8305: how long an address may keep the next one waiting
LOOKUP_S = 3.0
_SEND_BUFFER = 12 * 1024
_NOT_SENT_LOW_WATER = 4 * 1024


class LookupFailed(Exception):
    """The name has no address that we could learn in time."""


def resolve(host: str, port: int) -> list[Address]:
    """The system's resolver. May block for as long as it likes."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(address[0]), int(address[1])) for family, _, _, _, address in found]


def begin(address: Address) -> socket.socket:
    """Begin a TCP connection with the options of our link.

    The small send buffer and the low-water mark keep what waits in this machine's kernel below 0.7 s of audio
    while the network stalls: otherwise it would swallow, and later deliver, more than a minute of it.
    """
    family, host, port = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_LOW_WATER)
        sock.connect((host, port))
    except BlockingIOError:
        pass  # under way
    except BaseException:
        sock.close()
        raise
    return sock


class _Lookup:
    """One look-up in a thread of its own, which is left to itself when it takes too long."""

    def __init__(self, resolver: Resolver, name: tuple[str, int], wakeup: Wakeup) -> None:
        self.addresses: Sequence[Address] = ()
        self.done = False
        job = (resolver, name, wakeup)
        try:
            threading.Thread(target=self._run, args=job, name="resolver", daemon=True).start()
        except RuntimeError as error:  # this machine has no thread to give
            raise OSError(errno.EAGAIN, str(error)) from None

    def _run(self, resolver: Resolver, name: tuple[str, int], wakeup: Wakeup) -> None:
        try:
            self.addresses = resolver(*name)
        except (OSError, UnicodeError):
            self.addresses = ()  # no such name: the same to us as no answer
        self.done = True
        wakeup.set()


class Dialer:
    """Opens connections. Used by one thread; keeps the last good addresses of each host, and the TLS context."""

    def __init__(
        self, wakeup: Wakeup, ca_file: str = "", resolver: Resolver = resolve, connector: Connector = begin
    ) -> None:
        self._wakeup = wakeup
        self._ca_file = ca_file
        self._resolver = resolver
        self._connector = connector
        self._known: dict[tuple[str, int], Sequence[Address]] = {}
        self._lookups: dict[tuple[str, int], _Lookup] = {}
        self._context: ssl.SSLContext | None = None

    def dial(self, url: SplitResult, attempt: Attempt) -> Conduit:
        """A connected socket to the url's host, with TLS unless its scheme is plain.

        Raises what `Attempt.wait` does, `LookupFailed`, `ssl.SSLError` or `OSError`.
        """
        secure = url.scheme in ("wss", "https")
        host = url.hostname or ""
        port = url.port or (443 if secure else 80)
        sock = self._race(self._addresses(host, port, attempt), attempt)
        try:
            if secure:
                sock = self._tls(sock, host, attempt)
            return Conduit(sock, attempt)
        except BaseException:
            sock.close()
            raise

    # ------------------------------------------------------------------------------------------ names
    def _addresses(self, host: str, port: int, attempt: Attempt) -> Sequence[Address]:
        attempt.phase = "dns"
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            return self._look_up((host, port), attempt)
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, host, port)]

    def _look_up(self, name: tuple[str, int], attempt: Attempt) -> Sequence[Address]:
        # A look-up that hangs is waited for again, so that there is never more than one thread per name.
        lookup = self._lookups.get(name) or _Lookup(self._resolver, name, self._wakeup)
        self._lookups[name] = lookup
        deadline = Deadline(LOOKUP_S, attempt.clock)
        while not lookup.done and not deadline.passed:
            attempt.wait({}, deadline.remaining())
        if lookup.done:
            del self._lookups[name]
            self._known[name] = lookup.addresses or self._known.get(name, ())
        if not self._known.get(name):
            raise LookupFailed
        return self._known[name]

    # ------------------------------------------------------------------------------------------ TCP
    def _race(self, addresses: Sequence[Address], attempt: Attempt) -> socket.socket:
        """The first address to answer wins; each one has a head start of 250 ms on the next (RFC 8305)."""
        attempt.phase = "tcp"
        waiting = deque(_alternating(addresses))
        running: dict[int, socket.socket] = {}
        error = OSError("no address")
        try:
            while waiting or running:
                if waiting:
                    try:
                        sock = self._connector(waiting.popleft())
                    except OSError as refused:
                        error = refused
                        continue
                    running[sock.fileno()] = sock
                head_start = Deadline(STAGGER_S if waiting else math.inf, attempt.clock)
                while running and not head_start.passed:
                    for descriptor in attempt.wait(dict.fromkeys(running, select.POLLOUT), head_start.remaining()):
                        sock = running.pop(descriptor)
                        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if code == 0:
                            return sock
                        sock.close()
                        error = OSError(code, os.strerror(code))
                        head_start = Deadline(0.0, attempt.clock)  # do not let the next one wait
            raise error
        finally:
            for sock in running.values():
                sock.close()

    # ------------------------------------------------------------------------------------------ TLS
    def _tls(self, sock: socket.socket, host: str, attempt: Attempt) -> ssl.SSLSocket:
        attempt.phase = "tls"
        if self._context is None:
            self._context = self._make_context()
        tls = self._context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        try:
            while True:
                try:
                    tls.do_handshake()
                    return tls
                except ssl.SSLWantReadError:
                    attempt.wait({tls.fileno(): select.POLLIN})
                except ssl.SSLWantWriteError:
                    attempt.wait({tls.fileno(): select.POLLOUT})
        except BaseException:
            tls.close()
            raise

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Not create_default_context(), which obeys SSLKEYLOGFILE: an environment variable that gives away all keys.
        context.load_default_certs()
        if self._ca_file:
            try:
                context.load_verify_locations(self._ca_file)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigError(f"server.ca_file: {self._ca_file} is not a readable PEM file ({error})") from None
        return context


def _alternating(addresses: Sequence[Address]) -> Iterator[Address]:
    """The addresses with the two families taking turns, the resolver's first choice first."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    second = [a for a in addresses if a[0] != addresses[0][0]]
    for pair in zip_longest(first, second):
        yield from filter(None, pair)
