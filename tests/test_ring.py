"""The two rings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device_agent.runtime.ring import CaptureRing, Chunk, PlaybackRing


def chunk(handle: int, ms: int = 20, rate: int = 16_000) -> Chunk:
    return Chunk(handle, 1, rate, bytes(2 * rate * ms // 1000))


def test_the_oldest_frame_makes_room() -> None:
    """A frame is found by its number until the ring has gone round."""
    ring = CaptureRing(seconds=0.1)
    assert [ring.write(bytes([n]), 0) for n in range(7)] == list(range(7))
    assert ring.read(1) is None
    found = ring.read(6)
    assert found is not None and found.pcm == b"\x06"
    assert ring.read(7) is None


def test_a_wipe_leaves_nothing_and_keeps_the_numbers() -> None:
    """After a mute no old frame can be read, and numbers never repeat."""
    ring = CaptureRing()
    ring.write(b"x", 3)
    ring.wipe()
    assert ring.read(0) is None
    assert ring.write(b"y", 4) == 1


def test_a_chunk_is_held_until_it_is_played_or_discarded() -> None:
    """What the core has not decided on does not sound."""
    ring = PlaybackRing()
    assert ring.put(chunk(1)) and ring.put(chunk(2))
    assert ring.peek(0) is None
    ring.discard(1)
    ring.play(1)
    ring.play(2)
    ring.play(2)
    found = ring.take(0)
    assert found is not None and found.handle == 2 and ring.take(0) is None


def test_a_flush_forgets_the_queue_and_keeps_the_held() -> None:
    """Held chunks may belong to the next reply; the old generation gets nothing any more."""
    ring = PlaybackRing()
    for handle in (1, 2):
        ring.put(chunk(handle))
    ring.play(1)
    ring.flush()
    ring.play(2)
    assert ring.take(0) is None and ring.peek(0) is None
    found = ring.take(ring.generation)
    assert found is not None and found.handle == 2


def test_room_ends_at_ten_minutes_or_32_mb() -> None:
    """Beyond that `put` refuses; what was taken, discarded or flushed gives its room back."""
    ring = PlaybackRing()
    minute = chunk(0, 60_000, 8_000)
    for handle in range(10):
        assert ring.put(Chunk(handle, 1, minute.rate, minute.pcm))
    assert not ring.put(chunk(99))
    ring.discard(0)
    assert ring.put(chunk(100))
    for handle in range(1, 10):
        ring.play(handle)
    assert ring.queued_ms() == 540_000
    ring.flush()
    assert ring.queued_ms() == 0 and ring.put(minute)
    assert not PlaybackRing().put(Chunk(1, 1, 48_000, bytes(32_000_002)))


@given(st.lists(st.tuples(st.sampled_from(("put", "play", "discard", "take", "flush")), st.integers(0, 5))))
def test_the_room_counted_is_the_room_used(actions: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order, an empty ring has all its room again."""
    ring = PlaybackRing()
    for action, handle in actions:
        if action == "put":
            ring.discard(handle)
            ring.put(chunk(handle))
        elif action in ("play", "discard"):
            getattr(ring, action)(handle)
        elif action == "take":
            ring.take(ring.generation)
        else:
            ring.flush()
    for handle in range(6):
        ring.discard(handle)
    ring.flush()
    assert ring.queued_ms() == 0
    for handle in range(10):
        assert ring.put(Chunk(handle, 1, 8_000, bytes(960_000)))
