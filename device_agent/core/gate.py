"""The speech gate: from the detector's flicker to "somebody speaks" (onset 5 of 8, hangover, noise floor)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from device_agent.config import schema

FRAME_MS = 20
STRICT = (7, 10)
MARGIN_DB = 3.0  # speech is louder than a fan, a hum or an air conditioner, which the detector takes for speech too
FLOOR_DB = (-65.0, -30.0)  # no room is more silent; nor, at its first frame, so loud that a voice would drown
RISE_DB = 0.05  # a frame: 2.5 dB/s; the pauses between words bring it down again
SMOOTH = 0.2


class Gate:
    """Opens when `onset` of the last `window` frames are speech; closes `hangover_ms` after the last speech."""

    def __init__(self, settings: schema.Gate) -> None:
        self.open = False
        self._onset = settings.onset
        self._recent: deque[bool] = deque(maxlen=settings.window)
        self._strictly: deque[bool] = deque(maxlen=STRICT[1])
        self.level = self._floor = 0.0
        self._new = True
        self._hangover = settings.hangover_ms // FRAME_MS
        self._quiet = 0

    def frame(self, speech: bool, level: float, strict: bool = False) -> bool | None:
        """Take one 20 ms frame of `level` dBFS. True: it opened now; False: it closed now; None: no change.

        `strict` asks for 7 of the last 10 frames: residual echo flickers, a person who interrupts does not.
        """
        self._follow(level)
        speech = speech and level > self._floor + MARGIN_DB
        self._recent.append(speech)
        self._strictly.append(speech)
        if not self.open:
            recent, onset = (self._strictly, STRICT[0]) if strict else (self._recent, self._onset)
            self.open = recent.count(True) >= onset
            self._quiet = 0
            return True if self.open else None
        self._quiet = 0 if speech else self._quiet + 1
        if self._quiet < self._hangover:
            return None
        self.reset()
        return False

    def reset(self) -> None:
        """Forget what was heard, as after a mute; the room stays the same."""
        self.open = False
        self._recent.clear()
        self._strictly.clear()

    @property
    def memory(self) -> tuple[Any, ...]:
        """What was heard, as plain values: while it is closed, all that a frame is judged by."""
        return self._new, self.level, self._floor, *map(list, (self._recent, self._strictly))

    @memory.setter
    def memory(self, memory: Sequence[Any]) -> None:
        self._new, self.level, self._floor, recent, strictly = memory
        self.reset()
        self._recent.extend(recent)
        self._strictly.extend(strictly)

    def _follow(self, level: float) -> None:
        """Let the noise floor fall with the level, and rise slowly where the level does not fall any more."""
        if self._new:
            self._new, self.level, self._floor = False, level, FLOOR_DB[1]
        self.level += SMOOTH * (level - self.level)
        self._floor = max(FLOOR_DB[0], min(self.level, self._floor + RISE_DB))
