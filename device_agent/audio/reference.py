"""What the loudspeaker was given, for the echo canceller: from the playback thread to the capture thread."""

from __future__ import annotations

from collections import deque

from device_agent.audio.vad import FLOOR_DB, level_dbfs
from device_agent.runtime.resample import Resampler
from device_agent.runtime.ring import FRAME_BYTES

RATE = 16_000
PIECES = 50  # of 10 … 30 ms: what is older than half a second or more no canceller misses
DEEP_BYTES = 6_400  # 200 ms: the two cards' threads have lost each other
WANTED_BYTES = 1_280  # 40 ms: as much as playback writes at once, and still less than sound needs to the microphone


class Reference:
    """A bounded queue of 16 kHz mono samples, written continuously: silence too, and after the volume.

    `write` belongs to the playback thread, the rest to the capture thread. No lock: a deque's ends are atomic. The
    oldest makes room when nobody takes. While `wanted` is false nothing is converted or kept.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._pieces: deque[bytes] = deque(maxlen=PIECES)
        self._resampler = Resampler(RATE, RATE)
        self._held = self._taken = b""
        self._late = True

    def write(self, pcm: bytes, rate: int) -> None:
        """`pcm`, mono s16le at `rate` Hz, was handed to the card."""
        if not self.wanted:
            return
        if self._resampler.rate_in != rate:
            self._resampler = Resampler(rate, RATE)
        self._pieces.append(self._resampler.process(pcm))

    def start(self) -> None:
        """A microphone begins: what sounded before is of no use."""
        self._pieces.clear()
        self._held = self._taken = b""
        self._late = self.wanted = True

    def level_db(self) -> float:
        """Level of the samples taken last, in dBFS."""
        return level_dbfs(self._taken) if self._taken else FLOOR_DB

    def all(self, unit: int) -> bytes:
        """Everything there is, in whole units of so many bytes."""
        self._gather()
        whole = len(self._held) - len(self._held) % unit
        self._taken, self._held = self._held[:whole], self._held[whole:]
        return self._taken

    def frame(self) -> bytes:
        """The next 20 ms, for a canceller that needs pairs; silence if they have not been written yet.

        After that it waits until 40 ms are there, so that playback, which writes in lumps, does not fall behind at
        each of them: its delay against the microphone must not change.
        """
        self._gather()
        if len(self._held) > DEEP_BYTES:
            self._held = self._held[-WANTED_BYTES:]
        if len(self._held) < (WANTED_BYTES if self._late else FRAME_BYTES):
            self._late, self._taken = True, b""
            return bytes(FRAME_BYTES)
        self._late = False
        self._taken, self._held = self._held[:FRAME_BYTES], self._held[FRAME_BYTES:]
        return self._taken

    def _gather(self) -> None:
        while self._pieces:
            self._held += self._pieces.popleft()
