"""The mute latch: nothing passes after it closed, not even later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device_agent.runtime.latch import MuteLatch


def test_a_frame_passes_while_the_latch_stays_open() -> None:
    """A frame of this generation passes; the latch starts as it is told to."""
    assert MuteLatch().passes(0)
    assert not MuteLatch(closed=True).passes(0)


def test_a_frame_from_before_a_mute_never_passes_again() -> None:
    """Closing makes stale what was captured before, opening what was captured while muted."""
    latch = MuteLatch()
    before = latch.generation
    latch.close()
    assert latch.closed
    muted = latch.generation
    latch.open()
    assert not latch.closed
    assert [latch.passes(generation) for generation in (before, muted, latch.generation)] == [False, False, True]


@given(st.lists(st.booleans(), max_size=50))
def test_only_the_present_generation_of_an_open_latch_passes(moves: list[bool]) -> None:
    """However often the switch moves, no generation but the present one passes, and none while it is closed."""
    latch, seen = MuteLatch(), [0]
    for closing in moves:
        latch.close() if closing else latch.open()
        seen.append(latch.generation)
    passing = {generation for generation in seen if latch.passes(generation)}
    assert passing == (set() if latch.closed else {latch.generation})
