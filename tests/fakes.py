"""Stand-ins that the tests of several modules share."""

from __future__ import annotations

import threading


class FakeClock:
    """A monotonic clock that stands still until a test moves it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Rendezvous:
    """A point that a thread reaches and waits at until the test lets it go on."""

    def __init__(self, patience_s: float = 5.0) -> None:
        self._patience_s = patience_s
        self._arrived = threading.Event()
        self._leave = threading.Event()

    def arrive(self) -> None:
        """Called by the thread under test: waits for `release`."""
        self._arrived.set()
        assert self._leave.wait(self._patience_s), "the test did not release the thread"

    def reached(self) -> bool:
        """Called by the test: waits until the thread is there."""
        return self._arrived.wait(self._patience_s)

    def release(self) -> None:
        """Called by the test: the thread goes on."""
        self._leave.set()
