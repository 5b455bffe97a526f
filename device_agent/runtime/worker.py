"""A named thread with a heartbeat, a stop that does not poll, and failures that become messages (R10)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_agent.runtime.deadline import Clock, Deadline

IN_USE_S = 1.5
"""The limit of whoever moves sound in a conversation: a visitor waits for it. Longer than the supervisor's rhythm, what
it may oversleep without a word, and the longest turn of a worker that is well, together."""


@dataclass(slots=True)
class Heart:
    """The last sign of progress. Written by the worker, read by the supervisor; each field is one reference.

    `due`: another beat must follow within the worker's `limit_s`. A worker that waits for orders, or whose card
    or network is away, beats with ``due=False`` and its state: that is no reason to restart anything.
    """

    turns: int = 0
    at: float = 0.0
    state: str = "new"
    due: bool = False


def rests(thread: int | None) -> int:
    """How often a thread has let go of the processor, as the kernel counts; -1 while it runs, wants to, or waits for a
    medium. Two equal answers: it has stood still in between.
    """
    try:
        facts = dict(line.split(":", 1) for line in Path(f"/proc/self/task/{thread}/status").read_text().splitlines())
    except OSError:  # it has just ended
        return 0
    if facts["State"].split()[0] in "RD":
        return -1
    return int(facts["voluntary_ctxt_switches"]) + int(facts["nonvoluntary_ctxt_switches"])


class Worker:
    """One thread that owns something. Subclasses implement `run()`, which returns when `self.stopping` is set.

    `limit_s` is the longest time between two beats while one is due; who begins something that may take longer says
    so first. `on_failure(name, error)` is called in the worker's own thread when `run()` raises, or returns without
    having been asked to.
    """

    limit_s = 3.0

    def __init__(
        self, name: str, on_failure: Callable[[str, BaseException], None], clock: Clock = time.monotonic
    ) -> None:
        self.name = name
        self.clock = clock
        self.stopping = threading.Event()
        self.heart = Heart()
        self._on_failure = on_failure
        self._rests = -1
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def run(self) -> None:
        raise NotImplementedError

    def unblock(self) -> None:
        """Make the call return that the thread may be blocked in. Called by other threads, after `stopping` is set."""

    def start(self) -> None:
        self.beat("starting", due=True)
        self._thread.start()

    def request_stop(self) -> None:
        """First phase: signal and unblock. Returns at once."""
        self.stopping.set()
        self.unblock()

    def join(self, deadline: Deadline) -> bool:
        """Second phase: wait. False if the thread is still alive at the deadline."""
        if self._thread.ident is not None:
            self._thread.join(deadline.remaining())
        return not self._thread.is_alive()

    def beat(self, state: str, due: bool) -> None:
        """Report progress. Called by the worker's own thread once per turn of its loop."""
        heart = self.heart
        heart.turns += 1
        heart.at = self.clock()
        heart.state = state
        heart.due = due

    def late(self, now: float, excused: float = float("-inf")) -> float:
        """Seconds since the last beat, while another is due; the time before `excused` does not count."""
        return now - max(self.heart.at, excused) if self.heart.due else 0.0

    def overdue(self, now: float, excused: float = float("-inf")) -> bool:
        """Whether a beat is due and has not come in time."""
        return self.late(now, excused) >= self.limit_s

    def moved(self) -> bool:
        """Whether the thread has run since this was asked last, or wants to: who is starved of the processor, or held
        up by a slow medium, does not hang. The supervisor's question.
        """
        before, self._rests = self._rests, rests(self._thread.native_id)
        return self._rests < 0 or self._rests != before

    @property
    def replaceable(self) -> bool:
        """Whether another worker could do the work while this one is stuck where it is."""
        return True

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def ident(self) -> int | None:
        """The thread's identifier, as `sys._current_frames()` uses it."""
        return self._thread.ident

    def _guarded(self) -> None:
        try:
            self.run()
        except BaseException as error:  # nothing may end a worker in silence
            self._on_failure(self.name, error)
            return
        if not self.stopping.is_set():
            self._on_failure(self.name, RuntimeError("returned without being asked to stop"))
