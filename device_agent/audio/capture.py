"""Microphone → capture ring: 16 kHz mono frames of 20 ms, stamped with the mute latch, judged for speech."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from device_agent.audio.devices import RATE, Card, Devices
from device_agent.audio.echo import EchoControl
from device_agent.audio.second_opinion import SecondOpinion
from device_agent.audio.stream import GLANCE_S, LOST_S, START_S, StreamWorker
from device_agent.audio.vad import IDLE_MODE, MODE, SpeechDetector, level_dbfs
from device_agent.core.events import Event, Frame, WakeWord
from device_agent.errors import AudioError
from device_agent.runtime.deadline import Clock
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.resample import Resampler
from device_agent.runtime.ring import FRAME_BYTES, FRAME_MS, CaptureRing

if TYPE_CHECKING:
    from device_agent.audio.wake_word import WakeWords

SLACK_S = 0.003  # samples come in lumps: a little patience saves a look in vain
CALM_S = 0.06  # between two looks; half of what the host's buffer holds, and a third of the wake-ups of four threads
ALERT_FRAMES = 100  # after the last sound the frames come one by one for 2 s more
ALERT_DB = 6.0  # above the noise floor …
FLOOR_DB_PER_FRAME = 0.02  # … which follows a falling level at once, and a rising one by 1 dB/s
VOID = -1
"""A generation that the latch never has: such a frame never leaves the device."""
CARD_DELAY_S = 0.06
"""No sound needs longer from the air to `read`, besides what waits in the host's buffer."""


class Recording:
    """One open microphone in use."""

    def __init__(
        self,
        card: Card,
        period_ms: int,
        ring: CaptureRing,
        latch: MuteLatch,
        detector: SpeechDetector,
        post: Callable[[Event], None],
        clock: Clock,
        echo: EchoControl | None = None,
        words: WakeWords | None = None,
    ) -> None:
        self.running = False
        self._live = self._strict = True
        self.raw = False
        """Without echo cancelling. Any thread may set it."""
        self.wake = False
        """Listen for wake words. Any thread may set it."""
        self._words = words
        self._waking = False
        self._card = card
        self._period_s = period_ms / 1000
        self._period = card.rate * period_ms // 1000
        self._alert = ALERT_FRAMES  # frames left to be read one by one
        self._floor = 0.0  # dBFS
        self._ring = ring
        self._latch = latch
        self._detector = detector
        self._post = post
        self._clock = clock
        self._echo = echo
        self._resampler = Resampler(card.rate, RATE)
        self._pending = b""
        self._generation = latch.generation
        self._trusted_from = 0.0
        self._last = clock() + START_S - LOST_S

    def listen(self, live: bool) -> None:
        """Read frame by frame, or some at a time. Any thread."""
        self._alert = ALERT_FRAMES  # before `_live`: the first frames of a conversation do not wait for company
        self._live = live

    def turn(self) -> float:
        now = self._clock()
        # Before the samples are read: a mute that falls in between makes them stale, never fresh.
        generation = self._latch.generation
        if generation != self._generation:
            # What is still on its way was heard under the old one: after an unmute, that is the muted time.
            self._generation = generation
            self._trusted_from = now + CARD_DELAY_S
        if self._echo is not None:
            self._echo.look(self._card)
        if self._strict is self._live:
            self._strict = not self._live
            self._detector.mode(IDLE_MODE if self._strict else MODE)
        available = self._card.stream.get_read_available()
        if available < 0:
            raise AudioError(f"microphone {self._card.name!r} is gone: plug it in again")
        whole = available - available % self._period
        if whole:
            pcm = self._card.stream.read(whole, exception_on_overflow=False)
            self._last = now
            self.running = True
            available -= whole
            self._keep(pcm, now - available / self._card.rate)
            if self._calm:
                # Samples come in lumps of any size: who waits for so many looks in vain as often as not, and it is the
                # looks that cost. Whatever will have come by then is taken.
                return CALM_S
        elif now - self._last > GLANCE_S and self._card.gone():
            raise AudioError(f"microphone {self._card.name!r} was unplugged: plug it in again")
        elif now - self._last > LOST_S:
            raise AudioError(f"microphone {self._card.name!r} delivers nothing: plug it in again")
        return (self._period - available) / self._card.rate + SLACK_S

    def end(self) -> None:
        """Nothing: what was heard is in the ring."""

    @property
    def _calm(self) -> bool:
        """Nobody is heard, or nobody listens: a few frames may come together."""
        return not self._live or self._alert <= 0

    @property
    def _next_s(self) -> float:
        """When the next frames are due after the last ones."""
        return CALM_S if self._calm else self._period_s

    def _keep(self, pcm: bytes, t: float) -> None:
        """Cut what was read up to time `t` into frames."""
        pcm = self._pending + self._resampler.process(self._card.mono(pcm))
        whole = len(pcm) - len(pcm) % FRAME_BYTES
        self._pending = pcm[whole:]
        facts: list[Event] = []  # told together: the thread that takes them need wake only once
        for start in range(0, whole, FRAME_BYTES):
            frame = pcm[start : start + FRAME_BYTES]
            end = t - (len(pcm) - start - FRAME_BYTES) / (2 * RATE)
            begin = end - FRAME_MS / 1000
            if self._echo is not None and not self.raw:
                frame = self._echo.clean(frame)
            generation = self._generation if begin >= self._trusted_from else VOID
            residual = self._detector.doubts and self._echo is not None and self._echo.sounding
            speech, level = self._detector.speech(frame, residual), level_dbfs(frame)
            self._floor = min(level, self._floor + FLOOR_DB_PER_FRAME)
            self._alert = ALERT_FRAMES if speech or level > self._floor + ALERT_DB else self._alert - 1
            seq = self._ring.write(frame, generation)
            facts.append(Frame(seq, speech, level, end, self._next_s))
            if self._words is not None and (word := self._word_in(frame, self._words)):
                facts.append(WakeWord(word, seq))
        for fact in facts:
            self._post(fact)

    def _word_in(self, frame: bytes, words: WakeWords) -> str:
        if self.wake and not self._waking:
            words.reset()  # what it heard last was long ago
        self._waking = self.wake
        return words.hear(frame) if self._waking else ""


class Capture(StreamWorker):
    """Thread "capture": owns the microphone's stream, its resampler and the speech detector (see `StreamWorker`)."""

    def __init__(
        self,
        devices: Devices,
        period_ms: int,
        ring: CaptureRing,
        latch: MuteLatch,
        post: Callable[[Event], None],
        on_failure: Callable[[str, BaseException], None],
        clock: Clock = time.monotonic,
        echo: EchoControl | None = None,
        words: WakeWords | None = None,
        second: SecondOpinion | None = None,
    ) -> None:
        super().__init__("capture", "microphone", devices, post, on_failure, clock)
        self._words = words
        self._wake_wanted = self._raw_wanted = False
        self._period_ms = period_ms
        self._ring = ring
        self._latch = latch
        self._detector = SpeechDetector(second=second)
        self._echo = echo
        self._live = True
        self._recording: Recording | None = None

    def use(self, on: bool, live: bool = True, wake: bool = False, raw: bool = False) -> None:
        """Open or close the stream; frame by frame or some at a time; with wake words. Any thread; returns at once."""
        self._live, self._wake_wanted, self._raw_wanted = live, wake, raw
        if self._recording is not None:
            self._recording.listen(live)
            self._recording.wake, self._recording.raw = wake, raw
        super().use(on)

    def open(self) -> Card:
        if self._echo is not None:
            self._echo.prepare()
        return self._devices.open_input()

    def session(self, card: Card) -> Recording:
        heard = self._ring, self._latch, self._detector
        made = Recording(card, self._period_ms, *heard, self._post, self.clock, self._echo, self._words)
        self._recording = made  # before the look at `_live`: a `use` in between then sets it on the recording
        made.listen(self._live)
        made.wake, made.raw = self._wake_wanted, self._raw_wanted
        return made
