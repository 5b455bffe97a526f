"""The two rings that hold all audio of the device: the core only ever sees numbers and handles (R2, R6)."""

from __future__ import annotations

from collections import deque
from threading import Lock

from device_agent.records import record

FRAME_MS = 20
FRAME_SAMPLES = 320  # 16 kHz mono
FRAME_BYTES = 640  # s16le


@record
class Captured:
    """20 ms of microphone audio (16 kHz mono s16le) and the mute generation under which it was captured."""

    seq: int
    generation: int
    pcm: bytes


class CaptureRing:
    """The last `seconds` of the microphone. The capture thread writes, the link thread reads, anyone may wipe.

    No lock: a slot is one reference, replaced whole. A `write` that races a `wipe` lands in the list that was
    thrown away, which is what a wipe wants.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self._size = int(seconds * 1000 / FRAME_MS)
        self._slots: list[Captured | None] = [None] * self._size
        self._next = 0

    def write(self, pcm: bytes, generation: int) -> int:
        """Keep a frame of 640 bytes; returns its sequence number. The oldest frame makes room."""
        seq = self._next
        self._slots[seq % self._size] = Captured(seq, generation, pcm)
        self._next = seq + 1
        return seq

    def read(self, seq: int) -> Captured | None:
        """The frame `seq`, or None if it was wiped or overwritten."""
        found = self._slots[seq % self._size]
        return found if found is not None and found.seq == seq else None

    def wipe(self) -> None:
        """Forget everything kept."""
        self._slots = [None] * self._size


@record
class Chunk:
    """A piece of reply `event_id`: mono s16le at `rate` Hz. `final` closes the reply (and may be empty)."""

    handle: int
    event_id: int | None
    rate: int
    pcm: bytes
    final: bool = False

    @property
    def ms(self) -> float:
        return len(self.pcm) * 500 / self.rate


class PlaybackRing:
    """Agent audio between the wire and the loudspeaker.

    The link thread puts a chunk, where it is held under its handle; the dispatcher plays, discards or flushes;
    the playback thread peeks and takes. Agent audio is never dropped for lack of room until 10 minutes or 32 MB
    are queued (then `put` refuses, a fault of the reply). Every operation is constant-time but `flush`'s freeing
    of memory.
    """

    MAX_MS = 600_000.0
    MAX_BYTES = 32_000_000

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[int, Chunk] = {}
        self._queue: deque[Chunk] = deque()
        self._bytes = 0
        self._ms = 0.0
        self.generation = 0
        """Grows with each flush: the playback thread fades out what is in its hand when it sees a new one."""

    def put(self, chunk: Chunk) -> bool:
        """Hold a chunk until the core has decided; False if there is no room."""
        with self._lock:
            if self._ms + chunk.ms > self.MAX_MS or self._bytes + len(chunk.pcm) > self.MAX_BYTES:
                return False
            self._held[chunk.handle] = chunk
            self._count(chunk, +1)
            return True

    def play(self, handle: int) -> None:
        """Queue the held chunk behind the others. An unknown handle (flushed in between) is nothing."""
        with self._lock:
            chunk = self._held.pop(handle, None)
            if chunk is not None:
                self._queue.append(chunk)

    def discard(self, handle: int) -> None:
        """Throw a held chunk away."""
        with self._lock:
            chunk = self._held.pop(handle, None)
            if chunk is not None:
                self._count(chunk, -1)

    def flush(self) -> None:
        """Throw away all that is queued. Held chunks stay: the core has not decided on them yet."""
        with self._lock:
            old, self._queue = self._queue, deque()
            self._bytes = sum(len(c.pcm) for c in self._held.values())
            self._ms = sum(c.ms for c in self._held.values())
            self.generation += 1
        old.clear()  # outside the lock: freeing minutes of audio takes time

    def peek(self, generation: int) -> Chunk | None:
        """The chunk that `take` would give; None if there is none, or a flush came after `generation`."""
        with self._lock:
            return self._queue[0] if self._queue and generation == self.generation else None

    def take(self, generation: int) -> Chunk | None:
        """The next chunk to sound; None if there is none, or a flush came after `generation`.

        So a chunk played after a flush is never mistaken for one that the flush has made stale, nor the reverse.
        """
        with self._lock:
            if not self._queue or generation != self.generation:
                return None
            chunk = self._queue.popleft()
            self._count(chunk, -1)
            return chunk

    def queued_ms(self) -> float:
        """Milliseconds of audio decided on and not yet taken."""
        with self._lock:
            return sum(c.ms for c in self._queue)

    def _count(self, chunk: Chunk, sign: int) -> None:
        self._bytes += sign * len(chunk.pcm)
        self._ms += sign * chunk.ms
