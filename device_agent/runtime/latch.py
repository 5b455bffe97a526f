"""The mute latch: the one place that decides whether microphone audio may leave the device (R11)."""

from __future__ import annotations


class MuteLatch:
    """Closed means muted. `generation` travels with each frame from capture; it changes whenever the latch moves.

    The link asks `passes()` at the moment when it takes a frame to encode it, after every queue: so a frame that
    was captured before a mute never leaves after it, not even after the mute is over.

    `close` may be called by any thread at once (the GPIO callback does); `open` by the dispatcher alone. Two
    closers at once may raise the generation by one instead of two: it still differs from every earlier frame's,
    and the latch is closed before it changes, so nothing passes in between.
    """

    def __init__(self, closed: bool = False) -> None:
        self._closed = closed
        self.generation = 0

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self.generation += 1

    def open(self) -> None:
        self.generation += 1
        self._closed = False

    def passes(self, generation: int) -> bool:
        """Whether a frame captured under `generation` may be encoded now."""
        return not self._closed and generation == self.generation
