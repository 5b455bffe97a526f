"""What sounds next: queued agent audio at the card's rate, without clicks, with a cushion once jitter was seen."""

from __future__ import annotations

from device_agent.records import record
from device_agent.runtime.resample import Resampler
from device_agent.runtime.ring import Chunk, PlaybackRing

FADE_MS = 5
SLICE_MS = 20
CUSHION_S = 0.12
JITTER_S = 1.0  # a reply that pauses for longer is thinking, not late
CLEAN_REPLIES = 3


@record
class Run:
    """`frames` samples in a row of one reply, or of silence. `last`: the reply ends with them."""

    frames: int
    sound: bool = True
    event_id: int | None = None
    last: bool = False
    complete: bool = True


def ramp(pcm: bytes, at: int, length: int, rising: bool) -> bytes:
    """Scale samples that lie at `at`, `at + 1`, … of a linear ramp over `length` samples."""
    samples = memoryview(bytearray(pcm)).cast("h")
    for index in range(max(0, min(len(samples), length - at))):
        place = at + index if rising else length - at - index - 1
        samples[index] = samples[index] * place // length
    return samples.tobytes()


class Feed:
    """Takes chunks from the ring; used by the playback thread alone.

    Data that runs out is faded before its end, which is why 5 ms more than asked for are looked at. `underruns`
    counts gaps within replies: from the first on, a reply waits for `cushion_s` of audio before it (re)starts;
    three replies without a gap halve the cushion.
    """

    def __init__(self, ring: PlaybackRing) -> None:
        self._ring = ring
        self._generation = ring.generation
        self.underruns = 0
        self.cushion_s = 0.0
        self._chunk: Chunk | None = None
        self._offset = 0
        self._held_since: float | None = None
        self._clean = 0
        self._gaps = 0
        self._reply: int | None = None
        self._in_reply = False
        self._starved_at: float | None = None
        self.aim(16_000)

    def aim(self, rate: int) -> None:
        """Give samples at `rate` Hz from now on (a new stream); what had been converted and not given is dropped."""
        self._rate = rate
        self._fade = rate * FADE_MS // 1000
        self._resampler = Resampler(rate, rate)
        self._rest = b""  # converted samples of the current reply
        self._ended = False  # nothing will be added to the rest
        self._complete = True
        self._faded = False
        self._ramped = 0  # samples of the fade-in already given

    @property
    def empty(self) -> bool:
        """Whether nothing is in hand nor queued."""
        return not self._rest and self._chunk is None and self._ring.peek(self._ring.generation) is None

    def next(self, frames: int, now: float) -> tuple[bytes, list[Run]]:
        """Exactly `frames` samples to write at time `now`, and what they are."""
        if self._ring.generation != self._generation:
            self._flush()
        out: list[bytes] = []
        runs: list[Run] = []
        missing = frames
        while missing:
            self._fill(missing + self._fade, now)
            pcm, self._rest = self._rest[: 2 * missing], self._rest[2 * missing :]
            last = self._ended and not self._rest
            if not pcm and not last:
                break
            out.append(pcm)
            runs.append(Run(len(pcm) // 2, True, self._reply, last, self._complete))
            missing -= len(pcm) // 2
            if last:
                self._close()
        if missing:
            if self._in_reply and self._starved_at is None:
                self._starved_at = now
            out.append(bytes(2 * missing))
            runs.append(Run(missing, sound=False))
        return b"".join(out), runs

    # ------------------------------------------------------------------------------------ filling the hand
    def _fill(self, frames: int, now: float) -> None:
        """Have `frames` samples of the current reply in hand, or all that there are now, faded at their end."""
        while len(self._rest) < 2 * frames and not self._ended:
            if self._chunk is None and not self._advance(now):
                return
            if not self._ended:
                self._convert()

    def _advance(self, now: float) -> bool:
        """Take the next chunk; False if there is none yet, or its reply must wait."""
        found = self._ring.peek(self._generation)
        if found is None:
            self._run_out()
            return False
        if self._in_reply and found.event_id != self._reply:
            self._finish()  # a new reply ends one that was never called final
            return True
        if not self._cushioned(found, now):
            return False
        self._chunk = self._ring.take(self._generation)
        self._offset = 0
        if self._chunk is None:
            return False  # flushed in this very moment
        self._open(self._chunk)
        return True

    def _open(self, chunk: Chunk) -> None:
        self._starved_at = None
        if not self._in_reply:
            self._in_reply, self._reply, self._gaps = True, chunk.event_id, 0
            self._complete, self._ramped = True, 0
        if chunk.pcm and self._resampler.rate_in != chunk.rate:
            self._rest += self._resampler.drain() if self._rest else b""
            self._resampler = Resampler(chunk.rate, self._rate)

    def _cushioned(self, found: Chunk, now: float) -> bool:
        """Whether the (re)start of a reply has waited long enough."""
        if self._in_reply:
            if self._starved_at is None:
                return True
            if self._held_since is None and now - self._starved_at <= JITTER_S:
                self.underruns += 1
                self._gaps += 1
                self.cushion_s = CUSHION_S
        if self._held_since is None:
            self._held_since = now
        waited = now - self._held_since >= self.cushion_s
        if not (waited or found.final or self._ring.queued_ms() >= 1000 * self.cushion_s):
            return False
        self._held_since = None
        return True

    def _convert(self) -> None:
        """Move a slice of the chunk into the rest."""
        chunk = self._chunk
        assert chunk is not None
        size = 2 * (chunk.rate * SLICE_MS // 1000)
        pcm = self._resampler.process(chunk.pcm[self._offset : self._offset + size])
        self._offset += size
        if self._ramped < self._fade:
            pcm, self._ramped = ramp(pcm, self._ramped, self._fade, rising=True), self._ramped + len(pcm) // 2
        self._rest += pcm
        self._faded = False
        if self._offset >= len(chunk.pcm):
            self._chunk = None
            if chunk.final:
                self._finish()

    # ------------------------------------------------------------------------------------- ends of replies
    def _finish(self) -> None:
        """The reply gets nothing more."""
        self._run_out()
        self._ended = True

    def _run_out(self) -> None:
        """There is no more for now: let what is in hand end in silence, as what follows begins in it."""
        if self._in_reply and not self._faded:
            self._rest += self._resampler.drain()
            self._fade_tail()

    def _fade_tail(self) -> None:
        tail = self._rest[-2 * self._fade :]
        self._rest = self._rest[: len(self._rest) - len(tail)] + ramp(tail, 0, len(tail) // 2, rising=False)
        self._faded, self._ramped = True, 0

    def _flush(self) -> None:
        """Keep 5 ms of what is in hand, faded out; forget the rest of the reply."""
        self._generation = self._ring.generation
        if self._chunk is not None and len(self._rest) < 2 * self._fade:
            self._convert()
        self._chunk = None
        self._held_since = None
        self._rest = self._rest[: 2 * self._fade]
        if not self._faded:
            self._fade_tail()
        self._resampler.reset()
        self._ended, self._complete = self._in_reply, False

    def _close(self) -> None:
        """The last sample of the reply was given."""
        self._in_reply = self._ended = False
        self._starved_at = None
        self._clean = 0 if self._gaps else self._clean + 1
        if self._clean >= CLEAN_REPLIES:
            self._clean = 0
            self.cushion_s = self.cushion_s / 2 if self.cushion_s > CUSHION_S / 4 else 0.0
