"""Is the other end still there? Deadlines as plain bookkeeping on one clock: no socket, no waiting."""

from __future__ import annotations

import math
import struct

from device_agent.core.ending import End, Kind
from device_agent.link.endings import Ended
from device_agent.protocol.messages import Metadata, QueueStatus, ServerMessage

METADATA_S = 5.0
QUEUE_S = 120.0
SILENCE_S = 10.0
PONG_S = 3.0
ACK_S = 5.0
STALL_S = 12.0
INFO_EVERY_S = 1.0
# Linux' struct tcp_info up to the two fields that we need: tcpi_unacked, and tcpi_last_ack_recv in ms.
TCP_INFO = struct.Struct("=24xI28xI")


class Liveness:
    """The deadlines of one open connection. Each method that finds one passed raises `Ended`.

    - metadata: 5 s after the upgrade; while the service makes us queue, 120 s instead (`queue`).
    - liveness: 10 s without a byte, then a WebSocket ping, then 3 s more.
    - ack: what we sent stays unacknowledged, and no acknowledgement of any kind comes, for 5 s.
    - stalled: something waits to be written and the peer, though it acknowledges, takes nothing for 12 s.
    """

    def __init__(self, now: float) -> None:
        self._expected = now + METADATA_S
        self._missing = "metadata"
        self._welcome = False
        self._heard_at = now
        self._received = -1
        self._pinged_at: float | None = None
        self._info_at = now
        self._unacked_since: float | None = None
        self._blocked_since: float | None = None

    def said(self, message: ServerMessage, now: float) -> None:
        """Take note of messages that move the first deadline."""
        if isinstance(message, Metadata):
            self._welcome = True
        elif not isinstance(message, QueueStatus):
            return
        elif message.status == "waiting":
            if self._missing != "queue":
                self._expected, self._missing = now + QUEUE_S, "queue"
            return
        elif not self._welcome:
            self._expected, self._missing = now + METADATA_S, "metadata"
            return
        self._expected, self._missing = math.inf, ""

    def received(self, total: int, now: float) -> bool:
        """`total` bytes have come so far. Returns whether it is time to send a WebSocket ping."""
        if total != self._received:
            self._received, self._heard_at, self._pinged_at = total, now, None
        elif self._pinged_at is None:
            if now - self._heard_at >= SILENCE_S:
                self._pinged_at = now
                return True
        elif now - self._pinged_at >= PONG_S:
            raise Ended(End(Kind.TIMEOUT, reason="liveness"))
        return False

    def wrote(self, progress: bool, blocked: bool, now: float) -> None:
        """After each attempt to write: whether bytes were taken, and whether something still waits."""
        if progress:
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = now if blocked else None
        elif now - self._blocked_since >= STALL_S:
            raise Ended(End(Kind.TIMEOUT, reason="stalled"))

    @property
    def blocked(self) -> bool:
        """The last attempt to write met a full buffer. Audio that grew old meanwhile does not change that."""
        return self._blocked_since is not None

    def writable(self) -> None:
        """The socket takes data again, whether or not there is any."""
        self._blocked_since = None

    def wants_info(self, now: float) -> bool:
        """Once a second: whether `info` should be called."""
        if now - self._info_at < INFO_EVERY_S:
            return False
        self._info_at = now
        return True

    def info(self, tcp_info: bytes, now: float) -> None:
        """Judge the kernel's view of the connection.

        The time since the last acknowledgement alone says nothing, for nobody acknowledges an idle connection:
        so data must have been waiting for one all that time.
        """
        if len(tcp_info) < TCP_INFO.size:
            return
        unacked, silent_ms = TCP_INFO.unpack_from(tcp_info)
        if not unacked or self._unacked_since is None or silent_ms / 1000 < now - self._unacked_since:
            self._unacked_since = now if unacked else None
        elif now - self._unacked_since >= ACK_S:
            raise Ended(End(Kind.TIMEOUT, reason="ack"))

    def check(self, now: float) -> None:
        """The first deadline: metadata, or the end of the queue."""
        if now >= self._expected:
            raise Ended(End(Kind.TIMEOUT, reason=self._missing))
