"""What the next conversation is told is bounded; the scenarios recap*.txt tell the rest."""

from __future__ import annotations

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
