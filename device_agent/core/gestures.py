"""What a hand does with one button: from presses and releases to single, double, triple, long, very long and hold."""

from __future__ import annotations

from collections.abc import Set

LONG_S = 1.0
VERY_LONG_S = 5.0
NEXT_S = 0.3  # a further press of a double or triple one comes within this time
RELEASE = "release"
CLICKS = ("press", "double", "triple")


class Gestures:
    """Says a gesture as early as the `bound` ones of this button leave no doubt.

    With only `press` or only `hold` that is the leading edge; the last press of a double (or triple) one is its edge,
    too; `long` is said after 1 s, or at the release where `very_long` (5 s) means something else. `hold` begins after
    `hold_s`, so that a press can be told from it. What was said while the button was down is followed by `release`.
    """

    def __init__(self, bound: Set[str], hold_s: float) -> None:
        self.leading = len(bound) == 1 and bound <= {"press", "hold"}
        self._bound = bound
        self._most = 3 if "triple" in bound else 2 if "double" in bound else 1
        waits = {"very_long": VERY_LONG_S, "long": LONG_S, "hold": hold_s}
        self._kept = next(((name, s) for name, s in waits.items() if name in bound), None)
        self._count = 0
        self._down = self._said = False
        self.next_deadline: float | None = None
        """When `tick` wants to be called."""

    def down(self, t: float) -> list[str]:
        """The button goes down at `t`."""
        self._down, self._said = True, False
        self._count += 1
        self.next_deadline = None
        if self.leading:
            return self._say(next(iter(self._bound)))
        if self._count == self._most > 1:
            return self._say(CLICKS[self._count - 1])
        if self._kept and self._count == 1:
            self.next_deadline = t + self._kept[1]
        return []

    def up(self, t: float, held: float) -> list[str]:
        """It comes up at `t`, after `held` seconds."""
        self._down = False
        if self._said:
            return [RELEASE]
        self.next_deadline = None
        if self._count == 1 and "long" in self._bound and held >= LONG_S:
            return self._say("long")
        if self._count < self._most and held < LONG_S:
            self.next_deadline = t + NEXT_S
            return []
        return self._clicks()

    def tick(self, now: float) -> list[str]:
        """What is clear by now."""
        if self.next_deadline is None or now < self.next_deadline:
            return []
        self.next_deadline = None
        return self._say(self._kept[0]) if self._down and self._kept else self._clicks()

    def forget(self) -> list[str]:
        """The button is stuck: whatever it seemed to mean has ended."""
        ended = [RELEASE] if self._down and self._said else []
        self._down, self._said, self._count, self.next_deadline = False, True, 0, None
        return ended

    def _say(self, gesture: str) -> list[str]:
        self._count, self._said = 0, True
        return [gesture]

    def _clicks(self) -> list[str]:
        """So many presses; where no gesture is bound to their number, each counts for itself."""
        count, self._count = self._count, 0
        name = CLICKS[count - 1]
        return [name] if name in self._bound else ["press"] * count
