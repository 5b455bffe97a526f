"""The agent's voice: flite's slt at 16 kHz, or a row of tones where flite is missing."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
import wave
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from device_agent.simulator.hearing import RATE

_LONGEST_S = 20  # that flite may take for one text


def flite(text: str, voice: str = "slt") -> bytes:
    """Synthesises `text` as 16 kHz mono s16. Raises CalledProcessError or TimeoutExpired."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "speech.wav")
        command = ["flite", "-voice", voice, "-t", text, "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=_LONGEST_S)
        with wave.open(str(path)) as file:
            samples: bytes = file.readframes(file.getnframes())
            return samples


def tones(text: str) -> bytes:
    """A voiced stand-in: for each word a harmonic tone of 60 ms per letter, then a gap of 60 ms."""
    samples = array("h")
    for n, word in enumerate(text.split()):
        length = RATE * 60 * len(word) // 1000
        pitch = 2 * math.pi * (110, 131, 123, 98)[n % 4] / RATE
        for i in range(length):
            swell = min(1.0, i / 160, (length - i) / 160)
            samples.append(int(swell * sum(4000 / k * math.sin(pitch * k * i) for k in range(1, 7))))
        samples.extend([0] * (RATE * 60 // 1000))
    return samples.tobytes()


def tone(ms: int, hz: float) -> bytes:
    """A sine of -12 dBFS peak at 16 kHz s16."""
    step = 2 * math.pi * hz / RATE
    return array("h", [round(8192 * math.sin(step * i)) for i in range(RATE * ms // 1000)]).tobytes()


def installed() -> Callable[[str], bytes] | None:
    """flite, if there is one."""
    return flite if shutil.which("flite") else None


class Voice:
    """Speaks texts, each only once. The cache holds a few hundred short sentences at most (the answers)."""

    def __init__(self, synthesise: Callable[[str], bytes]) -> None:
        self._synthesise = synthesise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="voice")
        self._made: dict[str, Future[bytes]] = {}

    def speech(self, text: str) -> Future[bytes]:
        """16 kHz samples of `text`, now or soon. Calling it early makes the later call instant."""
        if text not in self._made:
            self._made[text] = self._pool.submit(self._synthesise, text)
        return self._made[text]
