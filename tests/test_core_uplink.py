"""The uplink: order, bounds and debts of what goes out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import Stage, configured

from device_agent.core.commands import SendFrames, SendSilence
from device_agent.core.uplink import CATCH_UP, KEPT_FRAMES, TAIL_FRAMES, Uplink

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.booleans(), st.booleans()), max_size=300)


def slots(orders: list[SendFrames | SendSilence]) -> list[int | None]:
    out: list[int | None] = []
    for order in orders:
        out += [None] * order.frames if isinstance(order, SendSilence) else range(order.first, order.last + 1)
    return out


def test_runs_are_joined() -> None:
    """Neighbours go out as one order, silence too; a gap in the numbers begins a new one."""
    uplink = Uplink()
    for slot in (1, 2, 4, None):
        uplink.add(slot, live=True)
    assert uplink.release(7) == [SendFrames(7, 1, 2), SendFrames(7, 4, 4), SendSilence(7)]
    for slot in (None, None, 5):
        uplink.add(slot, live=True)
    assert uplink.release(7) == [SendSilence(7, 2), SendFrames(7, 5, 5)]


def test_what_was_said_while_connecting_is_marked() -> None:
    """Kept frames and live ones never share an order, so that only the live ones may be dropped for their age."""
    uplink = Uplink()
    for seq in (1, 2, 3):
        uplink.add(seq, live=seq == 3)
    assert uplink.release(1) == [SendFrames(1, 1, 2, kept=True), SendFrames(1, 3, 3)]


def test_the_oldest_makes_room() -> None:
    """Beyond 8 s the oldest frame is given up and counted."""
    uplink = Uplink()
    for seq in range(KEPT_FRAMES + 3):
        uplink.add(seq, live=False)
    assert uplink.dropped == 3
    assert slots(uplink.release(1))[0] == 3


def test_a_long_wait_does_not_push_the_words_out() -> None:
    """While nothing goes out, silence is kept behind words only, and 1.5 s of it."""
    uplink = Uplink()
    for slot in [None] * 1000 + [1, 2] + [None] * 1000 + [3]:
        uplink.add(slot, live=False)
    kept = [slot for _ in range(100) for slot in slots(uplink.release(1))]
    assert kept == [1, 2] + [None] * TAIL_FRAMES + [3]


def test_clear_forgets_words_and_debts() -> None:
    """After a conversation nothing of it is left."""
    uplink = Uplink()
    uplink.add(1, live=False)
    uplink.borrowed = 5
    uplink.clear()
    uplink.add(None, live=True)
    assert slots(uplink.release(1)) == [None]


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_no_word_is_lost_or_reordered_and_debts_are_repaid(steps: list[tuple[bool, int, bool, bool]]) -> None:
    """Any mix of words, silence and debts: words keep their order and none is lost, four at most leave at a time."""
    uplink, given_, sent, owed, live_silence = Uplink(), [], [], 0, 0
    for seq, (speech, debt, live, due) in enumerate(steps):
        uplink.borrowed += debt
        owed += debt
        uplink.add(seq if speech else None, live)
        given_ += [seq] * speech
        live_silence += live and not speech
        if due:
            out = slots(uplink.release(1))
            assert len(out) <= CATCH_UP
            sent += out
        assert 0 <= uplink.borrowed <= owed
    while out := slots(uplink.release(1)):
        sent += out
    assert [slot for slot in sent if slot is not None] == given_
    assert sent.count(None) >= live_silence - (owed - uplink.borrowed)


def test_what_was_said_until_a_hold_was_clear_goes_out_as_live() -> None:
    """The words since the hand came down catch up at four times real time: none was kept for a connection."""
    buttons = '{red = {pin = 5, hold = "talk", press = "mute"}}'
    stage = Stage(configured([("activation.modes", "push-to-talk"), ("panel.buttons", buttons)]))
    stage.do("in conversation")
    stage.until(0.5)
    stage.do("release")
    stage.frames("1", "s", False)
    stage.do("press red")
    stage.frames("600", "ms", True)
    sent = [order for at, order in stage.done if isinstance(order, SendFrames) and at > 1.5]
    assert not any(order.kept for order in sent)
    assert [order.last - order.first + 1 for order in sent[:4]] == [4, 4, 4, 4]
    assert sent[0].first == 50
