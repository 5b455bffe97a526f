"""Logging that never makes a worker wait: records go through a bounded queue, the main thread writes them."""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Callable

PIPE_BUF = 4096  # so much a writable pipe takes without blocking


class QueueingHandler(logging.Handler):
    """Formats a record in the thread that logs, and hands the line to `put`, which must not block."""

    def __init__(self, put: Callable[[str], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._put(self.format(record))
        except Exception:  # a message that does not fit its arguments must not end the worker that logs it
            self.handleError(record)


class LineWriter:
    """Writes lines to a file descriptor that may be a full pipe: a line that does not fit now is dropped, counted.

    The descriptor is not made non-blocking, because a terminal shares that flag with the user's shell.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped = 0

    def write(self, text: str) -> None:
        """Each line of `text` by itself, cut at 4 kB."""
        for line in text.splitlines() or [""]:
            self._write(line)

    def _write(self, line: str) -> None:
        data = line.encode(errors="replace")[: PIPE_BUF - 1] + b"\n"
        if not any(flags & select.POLLOUT for _, flags in self._poll.poll(0)):
            self.dropped += 1
            return
        try:
            os.write(self._fd, data)
        except OSError:  # the reader is gone: that is no reason to stop talking
            self.dropped += 1


def configure(level: str, put: Callable[[str], None]) -> None:
    """Send all logging of the process to `put`, at `level` and above."""
    handler = QueueingHandler(put)
    handler.setFormatter(logging.Formatter("%(levelname)s %(threadName)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # websocket-client would log headers and payload: keys and words.
    logging.getLogger("websocket").setLevel(logging.CRITICAL)
