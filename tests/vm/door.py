"""TLS in front of a server on this machine: a guest reaches the world by TLS only."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

ROOM = 65_536


class Door:
    """Listens on loopback, and hands what comes through to `port` there; a guest calls it 10.0.2.2."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._inside = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name="door", daemon=True).start()

    def close(self) -> None:
        """Nobody comes in any more."""
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                taken, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(taken,), name="guest", daemon=True).start()

    def _pass(self, taken: socket.socket) -> None:
        try:
            outside = self._context.wrap_socket(taken, server_side=True)
            inside = socket.create_connection(("127.0.0.1", self._inside))
        except OSError:  # it does not trust us, or has gone
            taken.close()
            return
        inside.settimeout(0.01)
        outside.settimeout(0.01)
        # One thread for both ways: two on one TLS socket would be the fault that the product avoids.
        with suppress(OSError), inside, outside:
            while _hand_on(outside, inside) and _hand_on(inside, outside):
                pass


def _hand_on(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what has come; whether there may be more."""
    try:
        data = source.recv(ROOM)
    except TimeoutError:
        return True
    target.settimeout(None)
    target.sendall(data)
    target.settimeout(0.01)
    return bool(data)
