"""What was handed to the sound card, in a file: for the echo call, where there is no monitor to record from."""

from __future__ import annotations

import array
import struct
from pathlib import Path

HEADER = struct.Struct("<dI")
"""The monotonic time at which the first sample sounded (s), and the rate (Hz); mono s16le samples follow."""
GAP_S = 0.1


class Tape:
    """Owned by the playback thread. A closed stream leaves silence on the tape, so that its time stays true."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")
        self._start = 0.0
        self._rate = 0
        self._samples = 0

    def write(self, pcm: bytes, rate: int, t: float) -> None:
        """Keep mono samples that begin to sound at `t`. A card of another rate is not kept."""
        if not self._rate:
            self._start, self._rate = t, rate
            self._file.write(HEADER.pack(t, rate))
        if rate != self._rate:
            return
        missing = round((t - self._start) * rate) - self._samples
        if missing > GAP_S * rate:
            pcm = bytes(2 * missing) + pcm
        self._file.write(pcm)
        self._samples += len(pcm) // 2

    def close(self) -> None:
        self._file.close()


def read_tape(file: Path) -> tuple[float, int, array.array[int]]:
    """Time of the first sample, rate, samples; all zero or empty if nothing was played."""
    data = file.read_bytes() if file.exists() else b""
    if len(data) < HEADER.size:
        return 0.0, 0, array.array("h")
    start, rate = HEADER.unpack_from(data)
    return start, rate, array.array("h", data[HEADER.size : len(data) - len(data) % 2])
