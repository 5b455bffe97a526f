"""Logging that never makes a worker wait: records go through a bounded queue, the main thread writes them."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device_agent.config.secrets import redacted
from device_agent.runtime.deadline import Clock

PIPE_BUF = 4096  # so much a writable pipe takes without blocking
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""syslog's, as journald reads them at the beginning of a line (sd-daemon(3))."""
SAME, EACH_S = 10, 60.0
MOST_EVENTS = 200  # known at once; beyond that, those of an earlier minute are forgotten
_KEYS = re.compile(r"([\w.-]+)=%")


class QueueingHandler(logging.Handler):
    """Formats a record in the thread that logs, and hands the line to `put`, which must not block."""

    def __init__(self, put: Callable[[str], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._put(redacted(self.format(record)))
        except Exception:  # a message that does not fit its arguments must not end the worker that logs it
            self.handleError(record)


class JournalFormatter(logging.Formatter):
    """Each line begins with its priority; time and process are journald's own."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class JsonFormatter(logging.Formatter):
    """One object a line: `t` (seconds since 1970), `level`, `thread`, `event`, and the event's own keys."""

    def format(self, record: logging.LogRecord) -> str:
        keys, values = _KEYS.findall(str(record.msg)), record.args if isinstance(record.args, tuple) else ()
        said: dict[str, object] = {
            "t": round(record.created, 3),
            "level": record.levelname.lower(),
            "thread": record.threadName,
        }
        if len(keys) == len(values) and keys:
            said |= {"event": str(record.msg).partition(" ")[0]} | dict(zip(keys, values, strict=True))
        else:
            said["message"] = record.getMessage()
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str, ensure_ascii=False)


@dataclass(slots=True)
class _Window:
    began: float
    passed: int = 0
    left_out: int = 0


class Limit(logging.Filter):
    """At most 10 lines a minute of one event, whatever goes wrong; the next minute's first says how many lack."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        event, now = str(record.msg).partition(" ")[0], self._clock()
        window = self._windows.get(event)
        if window is None or now - window.began >= EACH_S:
            if window and window.left_out and isinstance(record.args, tuple):
                # A message without arguments is not formatted: what looks like a place for one in it is none.
                text = str(record.msg) if record.args else str(record.msg).replace("%", "%%")
                record.msg, record.args = f"{text} left-out=%d", (*record.args, window.left_out)
            if len(self._windows) >= MOST_EVENTS:
                self._windows = {name: w for name, w in list(self._windows.items()) if now - w.began < EACH_S}
            window = self._windows[event] = _Window(now)
        window.passed += 1
        if window.passed <= SAME:
            return True
        window.left_out += 1
        return False


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


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether what is written there goes to journald: systemd says so, and nobody has redirected it since."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def formatter(style: str) -> logging.Formatter:
    """For `journal`, `json` or `text`."""
    if style == "json":
        return JsonFormatter()
    if style == "journal":
        return JournalFormatter("%(threadName)s %(message)s")
    return logging.Formatter("%(levelname)s %(threadName)s %(message)s")


def configure(level: str, put: Callable[[str], None], style: str = "text") -> None:
    """Send all logging of the process to `put`, at `level` and above."""
    handler = QueueingHandler(put)
    handler.setFormatter(formatter(style))
    handler.addFilter(Limit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # websocket-client would log headers and payload: keys and words.
    logging.getLogger("websocket").setLevel(logging.CRITICAL)
