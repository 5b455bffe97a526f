"""The button: contact bounce in, presses and releases out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.core.button import Button, Press, Release

GAPS = st.lists(st.floats(0.0001, 0.2), max_size=40)


def test_acts_on_the_leading_edge() -> None:
    """A press is said at its first edge; what bounces within 20 ms is nothing."""
    button = Button(0.02)
    assert button.edge(True, 1.0) == [Press(1.0)]
    assert button.edge(False, 1.001) == []
    assert button.edge(True, 1.002) == []
    assert button.tick(1.02) == []
    assert button.tick(1.022) == []
    assert button.next_deadline() is None


def test_a_very_short_press_is_a_press_and_a_release() -> None:
    """A contact that rests in the other position for the debounce time has been released."""
    button = Button(0.02)
    button.edge(True, 1.0)
    button.edge(False, 1.005)
    assert button.next_deadline() == 1.025
    assert button.tick(1.5) == [Release(1.025, held=0.02499999999999991)]


def test_a_contact_that_never_rests_is_one_press() -> None:
    """Edges 5 ms apart for two seconds: one press, and it is known that the contact chatters."""
    button, gestures = Button(0.02), []
    for n in range(400):
        gestures += button.edge(n % 2 == 0, n * 0.005)
        assert button.chatters(n * 0.005) == (n >= 200)
    gestures += button.tick(5.0)
    assert gestures == [Press(0.0), Release(pytest.approx(2.015), pytest.approx(2.015))]
    assert not button.chatters(6.0)


def test_a_late_deadline_loses_nothing() -> None:
    """If the next edge is handled before the deadline was, both the release and the new press are said."""
    button = Button(0.02)
    button.edge(True, 1.0)
    button.edge(False, 1.005)
    gestures = button.edge(True, 1.1)
    assert [type(gesture) for gesture in gestures] == [Release, Press]


def test_a_tick_without_a_deadline_is_nothing() -> None:
    """Nobody pressed: nothing settles."""
    assert Button(0.02).tick(1.0) == []


@settings(deadline=None, max_examples=60)
@given(GAPS, st.lists(st.booleans(), min_size=40, max_size=40), st.booleans())
def test_gestures_alternate_and_none_is_lost_at_rest(gaps: list[float], ticked: list[bool], rest: bool) -> None:
    """Whatever the contact does, presses and releases alternate, and at rest the last one says where it is."""
    button, now, gestures = Button(0.02), 0.0, []
    pressed = False
    for gap, tick in zip(gaps, ticked, strict=False):
        now += gap
        deadline = button.next_deadline()
        if tick and deadline is not None and deadline <= now:
            gestures += button.tick(deadline)
        pressed = not pressed
        gestures += button.edge(pressed, now)
    gestures += button.edge(rest, now + 0.001)
    while (deadline := button.next_deadline()) is not None:
        gestures += button.tick(deadline)
    kinds = [type(gesture) for gesture in gestures]
    assert kinds == ([Press, Release] * len(kinds))[: len(kinds)]
    assert (len(kinds) % 2 == 1) is rest
    assert [gesture.t for gesture in gestures] == sorted(gesture.t for gesture in gestures)
    assert all(gesture.held >= 0.02 - 1e-9 for gesture in gestures if isinstance(gesture, Release))
