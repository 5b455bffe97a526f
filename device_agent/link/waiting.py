"""Waiting that can be given up: every blocking moment of a connection attempt goes through here."""

from __future__ import annotations

import select
from collections.abc import Callable

from device_agent.runtime.deadline import Clock, Deadline
from device_agent.runtime.wakeup import Wakeup

_SLICE_S = 1.0  # a heartbeat is due every 4 s, also while a slow server makes us wait


class Aborted(Exception):
    """The attempt was given up by order."""


class Overdue(Exception):
    """The attempt's deadline passed in `phase`."""

    def __init__(self, phase: str) -> None:
        super().__init__(phase)
        self.phase = phase


class Attempt:
    """One attempt at something: its whole deadline of `seconds`, the phase it is in, and whether it is still wanted.

    `aborted()` is asked after each wake-up, `on_turn()` is called at least once per second of waiting.
    """

    def __init__(
        self,
        wakeup: Wakeup,
        seconds: float,
        clock: Clock,
        aborted: Callable[[], bool],
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self.phase = "connect"
        self.clock = clock
        self.deadline = Deadline(seconds, clock)
        self._wakeup = wakeup
        self._aborted = aborted
        self._on_turn = on_turn

    def wait(self, interests: dict[int, int], seconds: float | None = None) -> list[int]:
        """The descriptors of `interests` (fd → poll mask) that are ready; none if we were woken or time is up.

        Raises `Aborted`, or `Overdue` at the attempt's deadline. `seconds` bounds this one wait.
        """
        poller = select.poll()
        for descriptor, mask in interests.items():
            poller.register(descriptor, mask)
        poller.register(self._wakeup, select.POLLIN)
        self.check()
        limit = min(_SLICE_S, self.deadline.remaining(), _SLICE_S if seconds is None else seconds)
        ready = [descriptor for descriptor, _ in poller.poll(limit * 1000)]
        if self._wakeup.fileno() in ready:
            self._wakeup.clear()
        self.check()
        return [descriptor for descriptor in ready if descriptor in interests]

    def check(self) -> None:
        """Raise what ends the attempt, if anything does."""
        self._on_turn()
        if self._aborted():
            raise Aborted
        if self.deadline.passed:
            raise Overdue(self.phase)
