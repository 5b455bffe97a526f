"""The device's own sounds: earcons and spoken clips, read once, then played from memory.

They lie in `sounds/` as 16 kHz µ-law: earcons at its top, what is spoken in a directory for each language. Both are
made by `script/sounds`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from device_agent.audio.gain import add, mul
from device_agent.core.commands import PlayClip
from device_agent.protocol import ulaw
from device_agent.runtime.deadline import Clock
from device_agent.runtime.resample import Resampler

log = logging.getLogger(__name__)

SOUNDS = Path(__file__).with_name("sounds")
RATE = 16_000
SLICE = 320  # samples converted at once
FADE_MS = 5
STALE_S = 1.0  # an answer that comes later than this answers nothing …
TRUE_S = 10.0  # … but what is said holds longer than a slow card takes to open
FALLBACK = "en"


class Shelf:
    """All sounds of one directory in memory: 60 kB of earcons, and some 300 kB for each language that is used."""

    def __init__(self, directory: Path = SOUNDS) -> None:
        self._directory = directory
        self._earcons = _read(directory)
        self._speech: dict[str, dict[str, bytes]] = {}

    def prepare(self, language: str) -> None:
        """Have the clips of this language in memory; without any, the English ones."""
        if language not in self._speech:
            plain = language.lower().replace("_", "-").partition("-")[0]
            own = _read(self._directory / plain) if plain.isalpha() else {}
            self._speech[language] = own or _read(self._directory / FALLBACK)

    def find(self, order: PlayClip) -> bytes:
        """The µ-law samples of an order: its earcon, then its speech; empty where there is no such sound."""
        self.prepare(order.language)
        parts = ((order.earcon, self._earcons), (order.speech, self._speech[order.language]))
        for name, sounds in parts:
            if name and name not in sounds:
                log.debug("clip.missing name=%s language=%s", name, order.language)
        return b"".join(sounds.get(name, b"") for name, sounds in parts)


def _read(directory: Path) -> dict[str, bytes]:
    return {file.stem: file.read_bytes() for file in sorted(directory.glob("*.ulaw"))}


class ClipPlayer:
    """Mixes the sound that was ordered last into what is played. `order` is for any thread, the rest for playback's.

    `ended` is called with an order's number when its last sample was given, or when it was dropped.
    """

    def __init__(self, shelf: Shelf, level: float, ended: Callable[[int], None], clock: Clock = time.monotonic) -> None:
        self._shelf = shelf
        self._level = level
        self._ended = ended
        self._clock = clock
        self._order: tuple[PlayClip, float] | None = None
        self._data = b""
        self._offset = 0
        self._rest = b""
        self._playing = False
        self._number = 0
        self.aim(RATE)

    def order(self, clip: PlayClip) -> None:
        """Play this in place of what sounds now; an empty order only ends that. Any thread; returns at once."""
        self._order = (clip, self._clock())

    def prepare(self, language: str) -> None:
        """Have the clips of this language in memory."""
        self._shelf.prepare(language)

    def aim(self, rate: int) -> None:
        """The samples are at `rate` Hz from now on; a sound that was in the middle is over."""
        self._rate = rate
        self._resampler = Resampler(RATE, rate)
        self.abandon()

    def abandon(self) -> None:
        """The stream is closed: what sounded is over."""
        self._data = self._rest = b""
        if self._playing:
            self._end()

    @property
    def idle(self) -> bool:
        """Whether `mix` would change nothing."""
        return self._order is None and not self._playing

    def mix(self, pcm: bytes) -> bytes:
        """Add the sound to these samples."""
        tail = b""
        order, self._order = self._order, None
        if order is not None:
            tail = self._change(*order)
        if not self._playing:
            return add(pcm, tail.ljust(len(pcm), b"\0")) if tail else pcm
        while len(self._rest) < len(pcm) and self._offset < len(self._data):
            self._convert()
        own, self._rest = self._rest[: len(pcm)], self._rest[len(pcm) :]
        if not self._rest and self._offset >= len(self._data):
            self._end()
        own = own.ljust(len(pcm), b"\0")
        return add(pcm, add(own, tail.ljust(len(pcm), b"\0")) if tail else own)

    def _change(self, order: PlayClip, at: float) -> bytes:
        """Begin another sound; gives the faded end of the one before. The same earcon goes on, what is said follows."""
        stale = self._clock() - at > (TRUE_S if order.speech else STALE_S)
        data = b"" if stale else self._shelf.find(order)
        if self._playing and order.earcon and data.startswith(self._data):
            self._ended(self._number)
            self._number, self._data = order.number, data
            return b""
        fade = self._rate * FADE_MS // 1000
        if len(self._rest) < 2 * fade and self._offset < len(self._data):
            self._convert()
        tail = _faded(self._rest[: 2 * fade])
        self.abandon()
        if order.earcon or order.speech:
            self._number = order.number
            self._resampler.reset()
            self._data, self._offset, self._playing = data, 0, True
            if not data:
                self._end()
        return tail

    def _end(self) -> None:
        self._playing = False
        self._ended(self._number)

    def _convert(self) -> None:
        piece = self._data[self._offset : self._offset + SLICE]
        self._offset += SLICE
        pcm = ulaw.decode(piece)
        self._rest += self._resampler.process(mul(pcm, self._level) if self._level != 1.0 else pcm)
        if self._offset >= len(self._data):
            self._rest += self._resampler.drain()


def _faded(pcm: bytes) -> bytes:
    samples = memoryview(bytearray(pcm)).cast("h")
    count = len(samples)
    for index in range(count):
        samples[index] = samples[index] * (count - index - 1) // count
    return samples.tobytes()
