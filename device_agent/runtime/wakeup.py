"""Ends another thread's `poll`."""

from __future__ import annotations

import select
import socket


class Wakeup:
    """A socket pair by which any thread ends another's `poll`."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def set(self) -> None:
        """End the wait. Never blocks; any thread."""
        try:
            self._writer.send(b"\0")
        except OSError:
            return  # full: the sleeper is awake already; closed: nobody sleeps any more

    def clear(self) -> None:
        """Forget the wake-ups so far. Called by the sleeper, *before* it looks at what it was woken for."""
        try:
            while len(self._reader.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            return

    def wait(self, also: int = -1) -> None:
        """Sleep until somebody calls `set`, however long that takes, or the descriptor `also` can be read."""
        poller = select.poll()
        poller.register(self, select.POLLIN)
        if also >= 0:
            poller.register(also, select.POLLIN)
        poller.poll()
        self.clear()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
