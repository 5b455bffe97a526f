"""The speech detector and the level meter of the microphone."""

from __future__ import annotations

import array
import math
from operator import mul

from device_agent.audio.second_opinion import SecondOpinion
from device_agent.errors import AudioError

MODE, IDLE_MODE = 2, 3  # of 0 lenient … 3 strict: in a conversation, and while a voice would open one
FLOOR_DB = -100.0
CLIPPED_SHARE = 0.001
_STRIDE = 4  # energy of every fourth sample: within 0.5 dB of all of them for speech, at a quarter of the CPU


class SpeechDetector:
    """webrtcvad on frames of 20 ms at 16 kHz: a raw opinion per frame, 2 µs each; and a second one where there is."""

    def __init__(self, mode: int = MODE, second: SecondOpinion | None = None) -> None:
        self._second = second
        try:
            # The compiled half of `webrtcvad`: the other half only looks up its own version, which takes longer
            # (12 ms) than opening the microphone.
            import _webrtcvad
        except ImportError as error:  # never run without it in silence: the device would be deaf
            raise AudioError(f"webrtcvad cannot be imported ({error}): pip install webrtcvad-wheels") from error
        self._process = _webrtcvad.process
        self._vad = _webrtcvad.create()
        _webrtcvad.init(self._vad)
        self._set_mode = _webrtcvad.set_mode
        self.mode(mode)

    def mode(self, mode: int) -> None:
        """How strict it is, from the next frame on; always at its strictest where a second opinion follows."""
        self._mode = mode
        self._set_mode(self._vad, mode)

    @property
    def doubts(self) -> bool:
        """Whether there is a second opinion."""
        return self._second is not None

    def speech(self, pcm: bytes, residual: bool = False) -> bool:
        """Whether these 20 ms of s16le at 16 kHz are speech.

        `residual`: what is left of the agent's own voice may be in it, in which the second opinion knows nobody.
        """
        if self._second is None:
            return self._first(pcm)
        self._set_mode(self._vad, self._mode if residual else IDLE_MODE)
        return self._first(pcm) if residual else self._second.speech(pcm, self._first(pcm))

    def _first(self, pcm: bytes) -> bool:
        return bool(self._process(self._vad, 16_000, pcm, len(pcm) // 2))


def level_dbfs(pcm: bytes) -> float:
    """Mean level of s16le samples in dBFS: −100 (silence) … 0 (full scale, square wave)."""
    samples = array.array("h", pcm)[::_STRIDE]
    energy = sum(map(mul, samples, samples))
    if not energy:
        return FLOOR_DB
    return max(FLOOR_DB, 10 * math.log10(energy / (len(samples) * 32768.0**2)))


def clipped(pcm: bytes) -> float:
    """The share of s16le samples at the end of the scale, 0 … 1; above `CLIPPED_SHARE` it is heard."""
    samples = array.array("h", pcm)
    return sum(abs(sample) >= 32_700 for sample in samples) / max(1, len(samples))
