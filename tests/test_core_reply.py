"""The interruption rule, chunk by chunk."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.reply import Reply


def test_equal_id_of_what_is_in_hand_is_stale() -> None:
    """The rest of an interrupted reply is not wanted."""
    reply = Reply()
    assert reply.wanted(5, False)
    reply.interrupted(5)
    assert not reply.wanted(5, True)
    assert reply.wanted(6, False)


def test_equal_id_of_a_new_reply_is_wanted() -> None:
    """The interruption that a message causes may carry the id of the reply to come."""
    reply = Reply()
    reply.wanted(5, False)
    reply.interrupted(6)
    assert not reply.wanted(5, False)
    assert reply.wanted(6, False)


def test_a_reply_that_has_sounded_is_not_in_hand() -> None:
    """An interruption with the id of a reply that is over does not make that id stale."""
    reply = Reply()
    reply.wanted(5, True)
    reply.silent()
    reply.interrupted(5)
    assert reply.wanted(5, False)


def test_each_queued_reply_is_in_hand() -> None:
    """Two replies are queued and the first is interrupted: the rest of it is stale, not the second one's."""
    reply = Reply()
    reply.wanted(5, False)
    reply.wanted(6, False)
    reply.interrupted(5)
    assert not reply.wanted(5, False)
    assert reply.wanted(6, False)


def test_stopped_here() -> None:
    """A reply that the user stopped is stale until a new id comes; without an id there is nothing to go by."""
    reply = Reply()
    reply.wanted(None, False)
    reply.wanted(5, False)
    reply.stopped()
    assert not reply.wanted(4, False)
    assert not reply.wanted(5, False)
    assert reply.wanted(6, False)
    assert reply.wanted(None, False)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["chunk", "interruption", "silent"]), st.integers(0, 20)), max_size=50))
def test_nothing_older_than_an_interruption_is_played(story: list[tuple[str, int]]) -> None:
    """Whatever the order of messages, audio below the highest interruption is never wanted, above it always."""
    reply, highest = Reply(), 0
    for kind, event_id in story:
        if kind == "interruption":
            reply.interrupted(event_id)
            highest = max(highest, event_id)
        elif kind == "silent":
            reply.silent()
        else:
            wanted = reply.wanted(event_id, False)
            assert not (wanted and event_id < highest)
            assert wanted or event_id <= highest
