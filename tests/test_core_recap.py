"""What the next conversation is told is bounded; the scenarios recap*.txt tell the rest."""

from __future__ import annotations

import pytest

from device_agent.core import events as e
from device_agent.core.recap import LETTERS, OPENING, Recap
from device_agent.protocol import messages as m


def test_the_oldest_words_are_left_out() -> None:
    """A long conversation keeps its last 30 turns and 4,000 letters."""
    recap = Recap()
    for n in range(50):
        recap.user(m.UserTranscript(f"{n} " + "word " * 100))
    recap.lost()
    told = recap.take()
    assert told is not None
    assert len(told.text) <= len(OPENING) + LETTERS + 2
    assert "49 word" in told.text
    assert "19 word" not in told.text
    assert recap.take() is None


def test_a_conversation_without_a_word_needs_none() -> None:
    """Nothing was said: nothing is told, and the agent greets."""
    recap = Recap()
    recap.lost()
    assert not recap.due


@pytest.mark.parametrize(
    ("heard_ms", "told"),
    [(0.0, " … (the rest was not heard)"), (500.0, "one two … (the rest was not heard)"),
     (1000.0, "one  two three four"), (2000.0, "one  two three four")],
)  # fmt: skip
def test_of_a_reply_only_what_was_heard_is_told(heard_ms: float, told: str) -> None:
    """Whole words, as many as fit; what was heard whole is told as it stands."""
    recap = Recap()
    recap.agent(m.AgentResponse("one  two three four", 7))
    recap.audio(e.AgentAudio(1, 1, 7, 400.0, False))
    recap.audio(e.AgentAudio(1, 2, 7, 600.0, True))
    recap.played(e.Played(7, heard_ms, False))
    recap.lost()
    update = recap.take()
    assert update is not None
    assert update.text == f"{OPENING}\nYou: {told}"


def test_what_was_not_flushed_was_heard_whole() -> None:
    """Whatever the count of milliseconds says."""
    recap = Recap()
    recap.agent(m.AgentResponse("one two", 7))
    recap.audio(e.AgentAudio(1, 1, 7, 400.0, True))
    recap.played(e.Played(7, 300.0, True))
    recap.lost()
    update = recap.take()
    assert update is not None
    assert update.text.endswith("You: one two")
