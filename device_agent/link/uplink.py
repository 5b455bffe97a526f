"""From the capture ring to the wire: the mute choke point, the age limit, the negotiated format."""

from __future__ import annotations

from device_agent.link.outbox import Due, Outbox
from device_agent.protocol.codec import encode_audio
from device_agent.protocol.formats import AudioFormat
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.resample import Resampler
from device_agent.runtime.ring import FRAME_BYTES, FRAME_SAMPLES, CaptureRing

MAX_AGE_S = 0.5
JOINED_FRAMES = 5  # at most 100 ms in one message; only frames that are due already are joined
_CAPTURE_RATE = FRAME_SAMPLES * 50
_SILENCE = bytes(FRAME_BYTES)


class Uplink:
    """The microphone audio of one connection, taken only when the socket has room for it.

    Owned by the link thread. Silence passes the same resampler as sound, so that its state and the length of what
    goes out stay true.
    """

    def __init__(self, conn: int, outbox: Outbox, ring: CaptureRing, latch: MuteLatch) -> None:
        self._conn = conn
        self._outbox = outbox
        self._ring = ring
        self._latch = latch
        self._format: AudioFormat | None = None
        self._resampler: Resampler | None = None
        self._dropped = 0

    def use(self, wire_format: AudioFormat) -> None:
        """What the metadata asks for. Raises AudioError if it needs a library that is missing."""
        self._resampler = Resampler(_CAPTURE_RATE, wire_format.rate)
        self._format = wire_format

    def next_message(self) -> str | None:
        """Up to 100 ms of what is due, framed for the wire, or None. Call it when the socket takes it at once."""
        if self._format is None or self._resampler is None:
            return None
        pcm = b"".join(self._taken())
        return encode_audio(self._format.from_pcm(self._resampler.process(pcm))) if pcm else None

    def drop_stale(self, now: float) -> None:
        """Give up what the network did not take within 500 ms, but never what was said while connecting."""
        queue = self._outbox.audio
        while queue and (self._is_stale(queue[0], now) or queue[0].conn != self._conn or self._format is None):
            self._dropped += queue.popleft().count

    @staticmethod
    def _is_stale(due: Due, now: float) -> bool:
        return now - due.at > MAX_AGE_S and not due.kept

    def take_dropped(self) -> int:
        """How many frames were given up since the last call."""
        dropped = self._dropped + self._outbox.refused
        self._dropped = self._outbox.refused = 0
        return dropped

    def _taken(self) -> list[bytes]:
        queue = self._outbox.audio
        frames: list[bytes] = []
        while queue and len(frames) < JOINED_FRAMES:
            due = queue[0]
            frames.append(self._frame(due))
            due.count -= 1
            if due.first is not None:
                due.first += 1
            if not due.count:
                queue.popleft()
        return frames

    def _frame(self, due: Due) -> bytes:
        """The one place where microphone audio leaves the device (R11): behind every queue, before the encoder.

        A frame that the latch does not let through, or that a wipe has taken from the ring, becomes silence.
        """
        captured = None if due.first is None else self._ring.read(due.first)
        if captured is None or not self._latch.passes(captured.generation):
            return _SILENCE
        return captured.pcm
