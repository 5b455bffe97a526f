"""The simulator's replies: cut, paced, aligned, and cut short; and what it understands."""

from __future__ import annotations

import random
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.simulator.intents import FAREWELL, JOKE, SORRY, answer
from device_agent.simulator.options import Pace
from device_agent.simulator.speech import alignment, cut, paced, spoken_part
from device_agent.simulator.voice import tone, tones

NOON = datetime(2026, 1, 2, 12, 5)


@given(st.binary(max_size=5000), st.integers(1, 60), st.integers(0, 100))
def test_pieces_are_whole_samples_and_nothing_is_lost(data: bytes, low: int, more: int) -> None:
    """Every event but the last holds whole samples; together they are the reply."""
    pieces = cut(data, 32_000, 2, (low, low + more), random.Random(1))
    assert b"".join(pieces) == data
    assert all(len(piece) % 2 == 0 for piece in pieces[:-1])


def test_pieces_of_exact_length() -> None:
    """A fixed chunk length gives exact events, and one event where the reply is shorter."""
    assert [len(p) for p in cut(bytes(3200 * 2 + 100), 32_000, 2, (100, 100), random.Random(1))] == [3200, 3200, 100]
    assert len(cut(bytes(32_000), 32_000, 2, (60_000, 60_000), random.Random(1))) == 1


@pytest.mark.parametrize(
    ("pace", "dues"),
    [("at-once", [5.0, 5.0, 5.0]), ("realtime", [5.0, 5.1, 5.2]), ("burst:2", [5.0, 5.05, 5.1])],
)
def test_paces(pace: str, dues: list[float]) -> None:
    """Events leave at once, as they sound, or a number of times faster."""
    chunks = paced([bytes(3200)] * 3, 32_000, Pace.parse(pace), 5.0, random.Random(1))
    assert [c.due for c in chunks] == pytest.approx(dues)
    assert [c.start_ms for c in chunks] == pytest.approx([0, 100, 200])


def test_jitter_is_late_never_early_and_keeps_the_order() -> None:
    """Just-in-time delivery with jitter is late by at most the jitter."""
    chunks = list(paced([bytes(640)] * 200, 32_000, Pace.parse("jitter:80"), 0.0, random.Random(1)))
    late = [c.due - c.start_ms / 1000 for c in chunks]
    assert [c.due for c in chunks] == sorted(c.due for c in chunks)
    assert min(late) >= 0 and 0.06 < max(late) <= 0.08


@given(st.text(min_size=1, max_size=60), st.integers(1, 20))
def test_alignment_names_every_character_once(text: str, pieces: int) -> None:
    """The chunks' characters, put together, are the text; times are relative to their chunk."""
    parts = [alignment(text, 1000.0 * pieces, 1000.0 * n, 1000.0) for n in range(pieces)]
    assert "".join(c for part in parts for c in part["chars"]) == text
    assert all(0 <= start <= 1000 for part in parts for start in part["char_start_times_ms"])


@pytest.mark.parametrize(
    ("share", "words"),
    [(-1, ""), (0.0, ""), (0.3, ""), (0.5, "one"), (0.8, "one two"), (1.0, "one two three"), (9, "one two three")],
)
def test_a_correction_keeps_whole_words(share: float, words: str) -> None:
    """What was spoken is cut at a word."""
    assert spoken_part("one two three", share) == words


@pytest.mark.parametrize(
    ("heard", "text", "tool", "parameters", "ends"),
    [
        ("what time is it", "It is 12:05.", "", {}, False),
        (
            "please set a timer for five minutes",
            "Your timer is set for 5 minutes.",
            "set_timer",
            {"seconds": 300},
            False,
        ),
        ("start a one minute timer", "Your timer is set for 1 minute.", "set_timer", {"seconds": 60}, False),
        (
            "set a timer for forty five seconds",
            "Your timer is set for 45 seconds.",
            "set_timer",
            {"seconds": 45},
            False,
        ),
        ("tell me a joke", JOKE, "", {}, False),
        ("make me laugh", JOKE, "", {}, False),
        (
            "turn the volume to a hundred percent",
            "The volume is now 100 percent.",
            "set_volume",
            {"percent": 100},
            False,
        ),
        ("good bye", FAREWELL, "", {}, True),
        ("", SORRY, "", {}, False),
        ("set a timer", SORRY, "", {}, False),
    ],
)
def test_intents(heard: str, text: str, tool: str, parameters: dict[str, int], ends: bool) -> None:
    """Each sentence has its answer, tool and end."""
    found = answer(heard, NOON)
    assert (found.text, found.tool, dict(found.parameters), found.ends) == (text, tool, parameters, ends)


def test_tones_stand_in_for_a_voice() -> None:
    """Without flite a sentence sounds about as long, and is loud enough to be heard."""
    assert 0.5 < len(tones("Hello. How can I help you?")) / 32_000 < 3
    assert len(tone(250, 440)) == 8000
