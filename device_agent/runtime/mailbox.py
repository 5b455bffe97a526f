"""The one mailbox through which every fact reaches the core, in one total order."""

from __future__ import annotations

from queue import Empty, SimpleQueue

from device_agent.core.events import Event, Frame

CONTROL_LIMIT = 1024
FRAME_LIMIT = 512  # 10 s of frames: a dispatcher so late is no longer a conversation


class Mailbox:
    """Bounded, many writers, one reader (the dispatcher).

    A `SimpleQueue` inside, because its `put` may be interrupted by a signal handler that puts too, without a
    dead-lock. Policy: above 512 entries a `Frame` is refused and counted in `frames_refused`; above 1,024 any
    event is, and counted in `overflow`, which the supervisor treats as a fault of the dispatcher.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Event] = SimpleQueue()
        self.frames_refused = 0
        self.overflow = 0

    def post(self, event: Event) -> None:
        """Add a fact. Never blocks; any thread."""
        # The size may change between the look and the put: a bound that is a few entries soft is still a bound.
        size = self._queue.qsize()
        if size >= FRAME_LIMIT and isinstance(event, Frame):
            self.frames_refused += 1
        elif size >= CONTROL_LIMIT:
            self.overflow += 1
        else:
            self._queue.put(event)

    def get(self, timeout: float | None) -> Event | None:
        """The oldest fact; None if none came within `timeout` seconds (0 does not wait, None waits for ever)."""
        try:
            return self._queue.get(timeout != 0, timeout)
        except Empty:
            return None
