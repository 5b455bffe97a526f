"""Does the canceller still cancel? Plain bookkeeping of levels, 20 ms at a time."""

from __future__ import annotations

from collections import deque

HEARD_DB = -50.0  # the reference sounds above this
ECHO_DB = 10.0  # a microphone so far above its noise floor hears the loudspeaker, or the user
ROOM_S = 0.3  # the echo lasts so long after the reference
POOR_DB, GOOD_DB = 10.0, 14.0
WINDOW = 500  # frames with echo: 10 s
STEP = 50  # the median is taken once a second
_FLOOR_STEP = 0.005  # dB a frame: slower than any sentence


class EchoWatch:
    """Follows the echo return loss: how much weaker the cleaned signal is than the microphone's while the agent sounds.

    The median over 10 s of echo tells what the canceller does, even while the user speaks half of that time. Frames
    in which no echo can be heard above the noise say nothing and do not count.
    """

    def __init__(self) -> None:
        self.works = True
        self.loss_db: float | None = None
        """The last median, in dB; None until 10 s of echo were heard."""
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._fresh = 0
        self._floor = 0.0
        self._echo_left = 0.0

    def frame(self, reference_db: float, near_db: float, cleaned_db: float) -> bool:
        """Take 20 ms. True when `works` has changed: lost below 10 dB, regained above 14 dB."""
        self._floor = min(near_db, self._floor + _FLOOR_STEP)
        self._echo_left = ROOM_S if reference_db > HEARD_DB else self._echo_left - 0.02
        if self._echo_left <= 0 or near_db < self._floor + ECHO_DB:
            return False
        self._losses.append(near_db - cleaned_db)
        self._fresh += 1
        if len(self._losses) < WINDOW or self._fresh < STEP:
            return False
        self._fresh = 0
        self.loss_db = sorted(self._losses)[len(self._losses) // 2]  # `statistics` takes 3 ms of the start to load
        worked, self.works = self.works, self.loss_db >= (POOR_DB if self.works else GOOD_DB)
        if worked != self.works:
            self._losses.clear()  # the other state gets its own 10 s
        return worked != self.works
