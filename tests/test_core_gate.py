"""The gate: the detector's flicker becomes "somebody speaks"."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.config import schema
from device_agent.core.gate import Gate

FLICKER = st.lists(st.booleans(), max_size=200)


def test_opens_at_five_of_eight() -> None:
    """Five speech frames among the last eight open the gate, four do not."""
    gate = Gate(schema.Gate())
    pattern = [True, False, True, False, True, False, True]
    assert [gate.frame(speech) for speech in pattern] == [None] * 7
    assert gate.frame(True) is True
    assert gate.open


def test_closes_after_the_hangover() -> None:
    """The gate closes 800 ms after the last speech frame; a single one in between starts the time anew."""
    gate = Gate(schema.Gate())
    for _ in range(5):
        gate.frame(True)
    assert [gate.frame(False) for _ in range(39)] == [None] * 39
    assert gate.frame(True) is None
    assert [gate.frame(False) for _ in range(40)] == [None] * 39 + [False]
    assert not gate.open


@settings(deadline=None, max_examples=60)
@given(FLICKER)
def test_opening_and_closing_alternate(flicker: list[bool]) -> None:
    """Whatever the detector says, the gate opens and closes in turn, and opens only at a speech frame."""
    gate = Gate(schema.Gate())
    changes = [(gate.frame(speech), speech) for speech in flicker]
    assert all(speech is change for change, speech in changes if change is not None)
    kinds = [change for change, _ in changes if change is not None]
    assert kinds == ([True, False] * len(kinds))[: len(kinds)]


@settings(deadline=None, max_examples=60)
@given(FLICKER)
def test_speech_is_never_longer_than_a_hangover_ago(flicker: list[bool]) -> None:
    """While the gate is open there was speech within the last 800 ms."""
    gate = Gate(schema.Gate())
    for n, speech in enumerate(flicker):
        gate.frame(speech)
        assert not gate.open or any(flicker[max(0, n - 39) : n + 1])


def test_reset_forgets() -> None:
    """After a mute four frames of before do not count."""
    gate = Gate(schema.Gate())
    for _ in range(4):
        gate.frame(True)
    gate.reset()
    assert [gate.frame(True) for _ in range(5)] == [None] * 4 + [True]
