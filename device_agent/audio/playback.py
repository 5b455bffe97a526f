"""Playback ring → loudspeaker: a stream that is always fed, a flush within 50 ms, and who was heard how long."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from device_agent.audio.devices import OUTPUT_FPB_S, Card, Devices
from device_agent.audio.feed import Feed, Run
from device_agent.audio.mixer import Mixer
from device_agent.audio.played import PlayedClock
from device_agent.audio.reference import Reference
from device_agent.audio.stream import GLANCE_S, LOST_S, StreamWorker
from device_agent.audio.tape import Tape
from device_agent.audio.vad import FLOOR_DB, level_dbfs
from device_agent.core.commands import PlayClip
from device_agent.core.events import Event, PlaybackIdle, PlaybackStarted, Played
from device_agent.errors import AudioError
from device_agent.runtime.deadline import Clock
from device_agent.runtime.ring import PlaybackRing

PIECE_S = 0.01
LEAD_S = (0.03, 0.06)  # what the card's buffer is kept at: normally, and after it ran dry
RESTING_S = 0.05  # … and while nothing sounds, for who would rather have fewer wake-ups than 20 ms
CALM_S = 30.0
POLL_S = 0.003
DUCK_GAIN, DUCK_MS, UNDUCK_MS = 10 ** (-18 / 20), 20.0, 300.0
SAFE_S = 0.01


class Reporter:
    """Turns what was written into the facts of when it is heard: one stream's clock and its promises."""

    def __init__(self, clock: PlayedClock, post: Callable[[Event], None]) -> None:
        self._clock = clock
        self._post = post
        self._sounding = False  # a sample of a reply is in the card, or was and `PlaybackIdle` is still owed
        self._reply: int | None = None
        self._open = False  # `_reply` has begun and not ended
        self._end = 0  # the last sample that belongs to a reply
        self._owed: deque[tuple[int, int | None, bool]] = deque()  # (sample, reply, complete)

    def wrote(self, run: Run, now: float) -> None:
        """`run` was handed to the card."""
        if not run.sound:
            self._clock.silence(run.frames)
            return
        if run.frames:
            self._begin(run, now)
            self._clock.sound(run.event_id, run.frames)
            self._end = self._clock.written
        if run.last and self._open:
            self._close(run.complete)

    @property
    def idle(self) -> bool:
        """Whether nothing of a reply is in the card, nor to be told of."""
        return not (self._sounding or self._owed)

    def settle(self, now: float, empty: bool) -> None:
        """Tell what has been heard. `empty`: nothing is queued."""
        if self.idle:
            return  # as nearly always
        position = self._clock.position(now)
        if empty and self._open and position >= self._end:
            self._close(complete=True)  # a reply that was never called final
        while self._owed and self._owed[0][0] <= position:
            _, event_id, complete = self._owed.popleft()
            self._post(Played(event_id, self._clock.heard_ms(event_id, now), complete))
        if self._sounding and not self._open and position >= self._end:
            self._sounding = False
            self._post(PlaybackIdle(now))

    def abandon(self, now: float) -> None:
        """The stream closes: what has not been heard never will be."""
        if self._open:
            self._close(complete=False)
        for sample, event_id, complete in self._owed:
            heard = complete and sample <= self._clock.position(now)
            self._post(Played(event_id, self._clock.heard_ms(event_id, now), heard))
        self._owed.clear()
        if self._sounding:
            self._sounding = False
            self._post(PlaybackIdle(now))

    def _begin(self, run: Run, now: float) -> None:
        if self._open and run.event_id == self._reply:
            return
        if self._open:
            self._close(complete=True)
        self._open = self._sounding = True
        self._reply = run.event_id
        self._post(PlaybackStarted(run.event_id, self._clock.time_of(self._clock.written, now)))

    def _close(self, complete: bool) -> None:
        self._open = False
        self._owed.append((self._end, self._reply, complete))


class Playout:
    """One open loudspeaker in use: its buffer is kept at the lead, with sound or silence."""

    def __init__(
        self,
        card: Card,
        feed: Feed,
        post: Callable[[Event], None],
        clock: Clock,
        tape: Tape | None = None,
        mixer: Mixer | None = None,
        reference: Reference | None = None,
        rests: bool = False,
    ) -> None:
        """`rests`: while nothing sounds, the card is given more at a time, and is looked at half as often."""
        self.running = False
        self.underruns = 0
        """How often the card ran dry because this process came too late."""
        self.sounded = b""
        """What was handed over last: s16le, mono, at the card's rate."""
        self._card = card
        self._feed = feed
        self._clock = clock
        self._tape = tape
        self._played = PlayedClock(card.rate)
        self._reporter = Reporter(self._played, post)
        self._buffer = card.stream.get_write_available()
        self._piece = round(card.rate * PIECE_S)
        self._lead_s = LEAD_S[0]
        self._calm_since = self._moved = clock()
        self._mixer = mixer or Mixer()
        self._reference = reference
        self._rests = rests
        feed.aim(card.rate)
        self._mixer.aim(card.rate)

    def turn(self) -> float:
        now = self._clock()
        free = self._card.stream.get_write_available()
        if free < 0:
            raise AudioError(f"loudspeaker {self._card.name!r} is gone: plug it in again")
        queued = max(0, self._buffer - free)
        self._adapt(now, self._played.observe(now, queued))
        if queued < self._played.written:
            self.running = True
        resting = self._resting
        lead_s = max(self._lead_s, RESTING_S) if resting else self._lead_s
        pieces = (min(round(lead_s * self._card.rate), self._buffer) - queued) // self._piece
        if pieces > 0:
            self._write(pieces * self._piece, now, queued)
            queued += pieces * self._piece
            self._moved = now
        elif now - self._moved > GLANCE_S and self._card.gone():
            raise AudioError(f"loudspeaker {self._card.name!r} was unplugged: plug it in again")
        elif now - self._moved > LOST_S:
            raise AudioError(f"loudspeaker {self._card.name!r} takes nothing: is it connected?")
        self._reporter.settle(now, self._feed.empty)
        # A card frees its buffer in periods: the next is due soon after 0.9 of one, if the rest lasts so long.
        due_s = 0.9 * OUTPUT_FPB_S * (2 if resting else 1)
        return min(due_s, queued / self._card.rate - SAFE_S) if pieces > 0 else POLL_S

    @property
    def _resting(self) -> bool:
        """A canceller is given its reference at an even pace: then there is no rest."""
        listened_to = self._reference is not None and self._reference.wanted
        return self._rests and not listened_to and self._reporter.idle and self._feed.empty

    def end(self) -> None:
        """The stream is about to close."""
        self._reporter.abandon(self._clock())
        self._mixer.end()

    def _write(self, frames: int, now: float, queued: int) -> None:
        pcm, runs = self._feed.next(frames, now)
        pcm = self._mixer.mix(pcm, any(run.sound for run in runs))
        self.sounded = pcm
        if self._reference is not None:
            self._reference.write(pcm, self._card.rate)
        if self._tape is not None:
            self._tape.write(pcm, self._card.rate, now + queued / self._card.rate)
        for run in runs:
            self._reporter.wrote(run, now)
        self._card.stream.write(self._card.spread(pcm), frames, exception_on_underflow=False)

    def _adapt(self, now: float, dry: bool) -> None:
        """A longer lead after the card ran dry, the normal one after 30 s of calm."""
        if dry and self.running:
            self.underruns += 1
            self._lead_s, self._calm_since = LEAD_S[1], now
        elif now - self._calm_since > CALM_S:
            self._lead_s = LEAD_S[0]


class Playback(StreamWorker):
    """Thread "playback": owns the loudspeaker's stream, the feed and its resampler (see `StreamWorker`)."""

    def __init__(
        self,
        devices: Devices,
        ring: PlaybackRing,
        post: Callable[[Event], None],
        on_failure: Callable[[str, BaseException], None],
        clock: Clock = time.monotonic,
        tape: Tape | None = None,
        mixer: Mixer | None = None,
        reference: Reference | None = None,
        rests: bool = False,
    ) -> None:
        super().__init__("playback", "loudspeaker", devices, post, on_failure, clock)
        self.mixer = mixer or Mixer()
        self.language = ""
        """Of the clips to have in memory from the start; others are read when they are needed first."""
        self.feed = Feed(ring)
        self._tape = tape
        self._reference = reference
        self._may_rest = rests
        self._playout: Playout | None = None

    def run(self) -> None:
        self.mixer.prepare(self.language)
        super().run()

    def play_clip(self, clip: PlayClip) -> None:
        """Play one of the device's own sounds, as soon as the stream is open. Any thread; returns at once."""
        self.mixer.play(clip)
        self._wake.set()

    def set_volume(self, volume: int) -> None:
        """0 … 100. Any thread; returns at once."""
        self.mixer.volume(volume)

    def duck(self, on: bool) -> None:
        """The agent's voice 18 dB softer within 20 ms, or as before within 300 ms. Any thread; returns at once."""
        self.mixer.duck.set(*((DUCK_GAIN, DUCK_MS) if on else (1.0, UNDUCK_MS)))

    @property
    def underruns(self) -> int:
        """How often the card ran dry since the stream was opened last."""
        return self._playout.underruns if self._playout else 0

    @property
    def level_db(self) -> float:
        """How loud is what sounds now, in dBFS. Any thread."""
        return level_dbfs(self._playout.sounded) if self._playout and self._playout.sounded else FLOOR_DB

    def open(self) -> Card:
        return self._devices.open_output()

    def session(self, card: Card) -> Playout:
        self._playout = Playout(
            card, self.feed, self._post, self.clock, self._tape, self.mixer, self._reference, self._may_rest
        )
        return self._playout
