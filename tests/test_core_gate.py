"""The gate: the detector's flicker becomes "somebody speaks"."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.config import schema
from device_agent.core.gate import Gate

FLICKER = st.lists(st.booleans(), max_size=200)


def heard(gate: Gate, speech: bool, level: float | None = None, strict: bool = False) -> bool | None:
    """A frame of the usual level: −20 dBFS if somebody speaks, −60 if not."""
    return gate.frame(speech, (-20.0 if speech else -60.0) if level is None else level, strict)


def test_opens_at_five_of_eight() -> None:
    """Five speech frames among the last eight open the gate, four do not."""
    gate = Gate(schema.Gate())
    pattern = [True, False, True, False, True, False, True]
    assert [heard(gate, speech) for speech in pattern] == [None] * 7
    assert heard(gate, True) is True
    assert gate.open


def test_speech_that_is_spread_thin_never_opens() -> None:
    """Every other frame, for however long: four of the last eight."""
    gate = Gate(schema.Gate())
    assert [heard(gate, n % 2 == 0) for n in range(100)] == [None] * 100


def test_closes_after_the_hangover() -> None:
    """The gate closes 800 ms after the last speech frame; a single one in between starts the time anew."""
    gate = Gate(schema.Gate())
    for _ in range(5):
        heard(gate, True)
    assert [heard(gate, False) for _ in range(39)] == [None] * 39
    assert heard(gate, True) is None
    assert [heard(gate, False) for _ in range(40)] == [None] * 39 + [False]
    assert not gate.open


@settings(deadline=None, max_examples=60)
@given(FLICKER)
def test_opening_and_closing_alternate(flicker: list[bool]) -> None:
    """Whatever the detector says, the gate opens and closes in turn, and opens only at a speech frame."""
    gate = Gate(schema.Gate())
    changes = [(heard(gate, speech), speech) for speech in flicker]
    assert all(speech is change for change, speech in changes if change is not None)
    kinds = [change for change, _ in changes if change is not None]
    assert kinds == ([True, False] * len(kinds))[: len(kinds)]


@settings(deadline=None, max_examples=60)
@given(FLICKER)
def test_speech_is_never_longer_than_a_hangover_ago(flicker: list[bool]) -> None:
    """While the gate is open there was speech within the last 800 ms."""
    gate = Gate(schema.Gate())
    for n, speech in enumerate(flicker):
        heard(gate, speech)
        assert not gate.open or any(flicker[max(0, n - 39) : n + 1])


def test_reset_forgets() -> None:
    """After a mute four frames of before do not count."""
    gate = Gate(schema.Gate())
    for _ in range(4):
        heard(gate, True)
    gate.reset()
    assert [heard(gate, True) for _ in range(5)] == [None] * 4 + [True]


def test_while_the_agent_is_audible_seven_of_ten_are_asked_for() -> None:
    """What is left of its echo flickers; a person who speaks does not."""
    gate = Gate(schema.Gate())
    assert [heard(gate, n % 10 < 6, strict=True) for n in range(40)] == [None] * 40
    assert [heard(gate, True, strict=True) for _ in range(7)].count(True) == 1


def test_a_constant_noise_closes_the_gate_and_a_voice_above_it_opens_it() -> None:
    """A fan that the detector takes for speech becomes the noise floor within some seconds."""
    gate = Gate(schema.Gate())
    heard(gate, False)
    changes = [heard(gate, True, -40.0) for _ in range(50 * 12)]
    assert [change for change in changes if change is not None] == [True, False]
    assert [heard(gate, True, -30.0) for _ in range(5)][-1] is True


def test_a_noise_that_was_there_first_opens_nothing() -> None:
    """The first frame tells the room's noise, unless it is as loud as a voice."""
    gate = Gate(schema.Gate())
    assert not any(heard(gate, True, -40.0) for _ in range(100))
    gate = Gate(schema.Gate())
    assert any(heard(gate, True, -20.0) for _ in range(10))


def test_pauses_between_words_bring_the_noise_floor_down() -> None:
    """A long talk is not taken for noise."""
    gate = Gate(schema.Gate())
    changes = [heard(gate, n % 50 < 40, -30.0 if n % 50 < 40 else -65.0) for n in range(50 * 60)]
    assert [change for change in changes if change is not None] == [True]
