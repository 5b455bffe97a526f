"""The way between a device and its server: a small TCP proxy that can be cut, fall silent, and speak TLS."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading

PIECE = 65_536
HANDSHAKE_S = 5.0
LOOK_S = 0.05


class Proxy:
    """Listens on loopback and passes on to the port `target`. With a `tls` context it speaks TLS to who connects.

    A thread for each connection, which owns both of its sockets and blocks in `select` for 50 ms at most; `cut`,
    `swallow` and `tls` may be used by any thread.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.tls = tls
        self.refused = 0
        """How many have connected and did not like our certificate."""
        self._over = threading.Event()
        self._cut = threading.Event()
        self._swallowed: set[int] = set()
        self._alive: dict[int, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LOOK_S)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.close()

    def cut(self) -> None:
        """End all connections as a router that has forgotten them: RST. New ones pass."""
        self._cut.set()
        while self._alive:
            self._over.wait(0.001)
        self._cut.clear()

    def swallow(self) -> None:
        """From now on nothing of what is under way on the connections of this moment arrives. New ones pass."""
        self._swallowed |= set(self._alive)

    def _accept(self) -> None:
        number = 0
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            number += 1
            threading.Thread(target=self._connection, args=(number, near), name="proxied", daemon=True).start()

    def _connection(self, number: int, near: socket.socket) -> None:
        near.settimeout(HANDSHAKE_S)
        try:
            if self.tls is not None:
                near = self.tls.wrap_socket(near, server_side=True)
            far = socket.create_connection(("127.0.0.1", self.target), HANDSHAKE_S)
        except OSError as error:
            self.refused += isinstance(error, ssl.SSLError)
            near.close()
            return
        with near, far:
            self._alive[number] = near
            try:
                self._pass_on(number, near, far)
            finally:
                del self._alive[number]

    def _pass_on(self, number: int, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                if self._cut.is_set():
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                ready: list[socket.socket] = [s for s in other if isinstance(s, ssl.SSLSocket) and s.pending()]
                ready = ready or select.select(list(other), [], [], LOOK_S)[0]
                for source in ready:
                    data = source.recv(PIECE)
                    if not data:
                        return
                    if number not in self._swallowed:
                        other[source].sendall(data)
