"""What waits to be sent: filled by any thread, emptied by the link thread."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from device_agent.core.commands import Send, SendFrames, SendSilence
from device_agent.protocol.messages import ClientMessage, ClientToolResult
from device_agent.runtime.wakeup import Wakeup

LIMIT = 1024


@dataclass(slots=True)
class Due:
    """Audio that became due at `at`: `count` frames from `first` on, or as much silence (None)."""

    conn: int
    first: int | None
    count: int
    at: float
    kept: bool = False


class Outbox:
    """Bounded queues by priority: tool results, other control, audio. (Pongs never leave the link thread.)

    No lock: `deque` appends and pops are atomic, and only the link thread takes. The bound may be a few entries
    soft when several threads put at once. Control that finds no room is a fault, `overflow`, which ends the
    connection; audio that finds none is counted in `refused`.
    """

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._results: deque[Send] = deque()
        self._control: deque[Send] = deque()
        self.audio: deque[Due] = deque()
        self.overflow = False
        self.refused = 0

    def put(self, order: Send) -> None:
        queue = self._results if isinstance(order.message, ClientToolResult) else self._control
        if len(queue) >= LIMIT:
            self.overflow = True
        else:
            queue.append(order)
        self._wakeup.set()

    def put_audio(self, order: SendFrames | SendSilence, now: float) -> None:
        """Queue it; it goes out after `rouse`."""
        if isinstance(order, SendFrames):
            due = Due(order.conn, order.first, order.last - order.first + 1, now, order.kept)
        else:
            due = Due(order.conn, None, order.frames, now)
        if len(self.audio) >= LIMIT:
            self.refused += due.count
        else:
            self.audio.append(due)

    def rouse(self) -> None:
        """Wake the link if audio waits: once for all frames that came together."""
        if self.audio:
            self._wakeup.set()

    def next_control(self, conn: int) -> ClientMessage | None:
        """The next message for `conn`; what was meant for another connection is forgotten."""
        for queue in (self._results, self._control):
            while queue:
                order = queue.popleft()
                if order.conn == conn:
                    return order.message
        return None

    def start(self) -> None:
        """A new connection begins: nothing that waits was meant for it."""
        self._results.clear()
        self._control.clear()
        self.audio.clear()
        self.overflow = False
        self.refused = 0

    def __bool__(self) -> bool:
        return bool(self._results or self._control or self.audio)
