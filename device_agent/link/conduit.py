"""The connected socket as websocket-client and http.client see it."""

from __future__ import annotations

import io
import select
import socket
import ssl
from typing import BinaryIO

from device_agent.link.waiting import Attempt

HANDSHAKE_BYTES = 64 * 1024
_WANT_READ = (BlockingIOError, ssl.SSLWantReadError)


class TooMuch(Exception):
    """The peer answered a handshake with more than 64 kB."""


class Conduit:
    """A non-blocking socket with two manners.

    While an `Attempt` is under way `recv` and `send` *wait*, but by `Attempt.wait`: with the attempt's deadline,
    abortable at once, and for at most 64 kB. That turns the blocking handshakes of the two libraries, whose own
    timeouts are per system call, into ones with a whole deadline. After `established()` nothing waits: the calls
    raise `BlockingIOError`, `ssl.SSLWantReadError` or `ssl.SSLWantWriteError`.

    Owned by the link thread alone. Nothing here blocks but `Attempt.wait`.
    """

    def __init__(self, sock: socket.socket, attempt: Attempt) -> None:
        self._sock = sock
        self._attempt: Attempt | None = attempt
        self.received = 0
        self.sent = 0

    def established(self) -> None:
        """The handshake is over: from now on no call waits."""
        self._attempt = None

    # ------------------------------------------------------------------------- what the libraries call
    def recv(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end of the stream."""
        while True:
            try:
                data = self._sock.recv(size)
            except _WANT_READ:
                if self._attempt is None:
                    raise
                self._attempt.wait({self._sock.fileno(): select.POLLIN})
            except ssl.SSLWantWriteError:
                if self._attempt is None:
                    raise
                self._attempt.wait({self._sock.fileno(): select.POLLOUT})
            else:
                self.received += len(data)
                if self._attempt is not None and self.received > HANDSHAKE_BYTES:
                    raise TooMuch
                return data

    def send(self, data: bytes | memoryview) -> int:
        """How many bytes were taken; all of them while the attempt is under way."""
        if self._attempt is None:
            taken = self._sock.send(data)
            self.sent += taken
            return taken
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except ssl.SSLWantReadError:
                self._attempt.wait({self._sock.fileno(): select.POLLIN})
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._attempt.wait({self._sock.fileno(): select.POLLOUT})
        return len(data)

    def sendall(self, data: bytes) -> None:
        self.send(data)

    def makefile(self, mode: str) -> BinaryIO:
        """For http.client, which reads answers through a file."""
        return io.BufferedReader(_Stream(self))

    def gettimeout(self) -> float:
        # Zero makes websocket-client call recv and send directly, without a select of its own.
        return 0.0

    def settimeout(self, seconds: float | None) -> None:
        """Accepted and without effect: the deadlines are ours."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    # --------------------------------------------------------------------------------------- our own
    @property
    def local_address(self) -> str:
        """This machine's end; empty where the connection is no more."""
        try:
            return str(self._sock.getsockname()[0])
        except OSError:
            return ""

    def info(self, length: int) -> bytes:
        """The kernel's `struct tcp_info`; empty where there is none."""
        option = getattr(socket, "TCP_INFO", None)
        if option is None or self._sock.family == getattr(socket, "AF_UNIX", None):
            return b""
        return self._sock.getsockopt(socket.IPPROTO_TCP, option, length)

    def abandon(self) -> None:
        """End both directions at once and close."""
        try:
            # The base class's: SSLSocket.shutdown would first drop its TLS state.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was quicker, or it never was connected
        finally:
            self._sock.close()


class _Stream(io.RawIOBase):
    def __init__(self, conduit: Conduit) -> None:
        self._conduit = conduit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._conduit.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)
