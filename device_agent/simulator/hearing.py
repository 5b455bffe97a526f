"""From received bytes to turns. Time here is *received audio*, never the clock: a pause in the stream ends nothing."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from operator import mul

RATE = 16_000
FRAME_MS = 20
FRAME_BYTES = RATE * FRAME_MS // 1000 * 2

_PRE_ROLL_FRAMES = 300 // FRAME_MS
_ONSET = (5, 8)  # so many speech frames among so many
_CONFIRM_MS = 200
_LONGEST_TURN_MS = 60_000
_FLOOR_DBFS = -50.0


def dbfs(pcm: bytes) -> float:
    """RMS level of s16 samples re full scale; silence and nothing are -120."""
    samples = array("h", pcm)
    if not samples:
        return -120.0
    power = sum(map(mul, samples, samples)) / len(samples)
    return max(-120.0, 10 * math.log10(power / 2**30)) if power else -120.0


def peak(pcm: bytes) -> int:
    """The largest absolute sample."""
    samples = array("h", pcm)
    return max(max(samples), -min(samples)) if samples else 0


class Heard(Enum):
    """What `TurnDetector` noticed."""

    ONSET = "speech_started"
    CONFIRMED = "speech_confirmed"  # 200 ms of speech: no cough
    PAUSE = "pause"  # half of the silence that would end the turn
    END = "turn_ended"
    DROPPED = "turn_dropped"  # ended without ever being confirmed


def speech_detector() -> Callable[[bytes], bool]:
    """WebRTC's detector in mode 2, for one 20 ms frame; anything below -50 dBFS is silence.

    The floor removes the detector's own hangover, so that the silence which ends a turn starts with the silence.
    """
    import webrtcvad  # the owner of this import in the simulator

    vad = webrtcvad.Vad(2)

    def is_speech(frame: bytes) -> bool:
        return dbfs(frame) > _FLOOR_DBFS and vad.is_speech(frame, RATE)

    return is_speech


class TurnDetector:
    """Feeds on 16 kHz samples. `turn` is the audio of the present turn, from 300 ms before its onset."""

    def __init__(self, is_speech: Callable[[bytes], bool], end_of_turn_ms: int) -> None:
        self._is_speech = is_speech
        self._end_ms = end_of_turn_ms
        self._rest = b""
        self._recent: deque[bytes] = deque(maxlen=_PRE_ROLL_FRAMES + _ONSET[1])
        self._flags: deque[bool] = deque([False] * _ONSET[1], maxlen=_ONSET[1])
        self.turn = bytearray()
        self.in_turn = False
        self.speech_ms = self.silence_ms = 0

    @property
    def speech_share(self) -> float:
        """Of the last 160 ms, 0 to 1."""
        return sum(self._flags) / len(self._flags)

    def feed(self, pcm: bytes) -> Iterator[Heard]:
        """Takes samples in pieces of any size. Consume it fully: it works as it goes."""
        data = self._rest + pcm
        whole = len(data) // FRAME_BYTES * FRAME_BYTES
        self._rest = data[whole:]
        for start in range(0, whole, FRAME_BYTES):
            frame = data[start : start + FRAME_BYTES]
            self._flags.append(self._is_speech(frame))
            yield from self._in_turn(frame) if self.in_turn else self._before(frame)

    def _before(self, frame: bytes) -> Iterator[Heard]:
        self._recent.append(frame)
        if sum(self._flags) >= _ONSET[0]:
            self.turn = bytearray(b"".join(self._recent))
            self._recent.clear()
            self.in_turn, self.speech_ms, self.silence_ms = True, sum(self._flags) * FRAME_MS, 0
            yield Heard.ONSET

    def _in_turn(self, frame: bytes) -> Iterator[Heard]:
        self.turn += frame
        if self._flags[-1]:
            self.speech_ms += FRAME_MS
            self.silence_ms = 0
            if self.speech_ms == _CONFIRM_MS:
                yield Heard.CONFIRMED
        else:
            self.silence_ms += FRAME_MS
        if self.silence_ms >= self._end_ms or len(self.turn) >= _LONGEST_TURN_MS * RATE // 500:
            yield self._end()
        elif self.silence_ms and 0 <= self.silence_ms - self._end_ms // 2 < FRAME_MS:
            yield Heard.PAUSE

    def _end(self) -> Heard:
        self.in_turn = False
        self._flags.extend([False] * _ONSET[1])
        return Heard.END if self.speech_ms >= _CONFIRM_MS else Heard.DROPPED
