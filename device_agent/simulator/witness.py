"""What was seen, written down: JSON lines, a WAV of everything received, and the exact bytes."""

from __future__ import annotations

import json
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from device_agent.simulator.hearing import RATE

Event = dict[str, Any]


class Witness:
    """Reports events to `sink`. `t` is CLOCK_MONOTONIC in seconds, comparable across the machine's processes.

    Called by every connection's thread; each event is one call of `sink`, which must bear that.
    """

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink

    def note(self, kind: str, connection: int, t: float | None = None, **facts: Any) -> None:
        """Reports that `kind` happened on `connection` (0: on none)."""
        self._sink({"t": time.monotonic() if t is None else t, "kind": kind, "connection": connection} | facts)


def json_lines(target: str) -> Callable[[Event], None]:
    """A sink that writes to the file `target`; ``-`` is standard output, nothing is nowhere."""
    if not target:
        return lambda event: None
    stream: BinaryIO = sys.stdout.buffer if target == "-" else Path(target).open("ab", buffering=1 << 16)  # noqa: SIM115

    def write(event: Event) -> None:
        # One write of one line: a buffered stream has its own lock, so lines of two threads do not mix.
        stream.write(json.dumps(event).encode() + b"\n")
        stream.flush()

    return write


class Recorder:
    """Keeps received audio. The WAV's header is right after every chunk, whatever ends the process."""

    def __init__(self, wav: Path | None, raw_directory: Path | None) -> None:
        self._raw_directory = raw_directory
        if raw_directory is not None:
            raw_directory.mkdir(parents=True, exist_ok=True)
        self._wav: wave.Wave_write | None = None
        if wav is not None:
            # Unbuffered: what is written is there at once, and `wave` corrects its header after each chunk.
            self._file = wav.open("wb", buffering=0)
            self._wav = wave.open(self._file, "wb")  # noqa: SIM115 (it stays open as long as we do)
            self._wav.setnchannels(1)
            self._wav.setsampwidth(2)
            self._wav.setframerate(RATE)

    def keep(self, connection: int, raw: bytes, pcm: bytes) -> None:
        """Appends one chunk: `pcm` at 16 kHz to the WAV, `raw` to ``DIR/connection-N.raw``."""
        if self._wav is not None:
            self._wav.writeframes(pcm)
        if self._raw_directory is not None:
            with (self._raw_directory / f"connection-{connection}.raw").open("ab") as file:
                file.write(raw)

    def close(self) -> None:
        if self._wav is not None:
            self._wav.close()
            self._file.close()
