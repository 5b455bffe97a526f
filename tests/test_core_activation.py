"""What presses mean in each combination of modes."""

from __future__ import annotations

import pytest

from device_agent.core.activation import Activation, Wish


def test_push_to_talk() -> None:
    """Held is talking; the release ends the turn."""
    activation = Activation(("push-to-talk",), 0.3)
    assert activation.pressed(is_open=False, speaking=False) is Wish.OPEN
    assert activation.talking
    assert activation.released(0.05) is Wish.TURN_OVER
    assert not activation.talking
    assert activation.pressed(is_open=True, speaking=False) is Wish.NOTHING


def test_toggle() -> None:
    """One press opens hands-free, the next closes; releases mean nothing."""
    activation = Activation(("toggle",), 0.3)
    assert activation.pressed(is_open=False, speaking=False) is Wish.OPEN
    assert activation.released(2.0) is Wish.NOTHING
    assert activation.talking
    assert activation.pressed(is_open=True, speaking=False) is Wish.CLOSE
    activation.over()
    assert not activation.talking


@pytest.mark.parametrize("modes", [("push-to-talk",), ("toggle",), ("always-on",), ("push-to-talk", "toggle")])
def test_a_press_interrupts_the_agent(modes: tuple[str, ...]) -> None:
    """While the agent speaks a press stops it, in every mode."""
    assert Activation(modes, 0.3).pressed(is_open=True, speaking=True) is Wish.INTERRUPT


def test_push_to_talk_with_toggle() -> None:
    """A short press opens hands-free or closes; a long one is a turn; one that interrupts makes it hands-free."""
    activation = Activation(("push-to-talk", "toggle"), 0.3)
    assert activation.pressed(is_open=False, speaking=False) is Wish.OPEN
    assert activation.released(0.4) is Wish.TURN_OVER
    assert not activation.talking
    assert activation.pressed(is_open=True, speaking=True) is Wish.INTERRUPT
    assert activation.released(0.1) is Wish.NOTHING
    assert activation.hands_free
    assert activation.pressed(is_open=True, speaking=False) is Wish.NOTHING
    assert activation.released(0.4) is Wish.NOTHING
    assert activation.talking
    assert activation.pressed(is_open=True, speaking=False) is Wish.NOTHING
    assert activation.released(0.1) is Wish.CLOSE


def test_always_on() -> None:
    """What opened by itself is hands-free, and a press of an open conversation means nothing."""
    activation = Activation(("always-on",), 0.3)
    activation.opened_by_itself()
    assert activation.talking
    assert activation.pressed(is_open=True, speaking=False) is Wish.NOTHING


def test_a_press_of_exactly_the_limit_was_held() -> None:
    """What is held so long is a turn, not a toggle."""
    activation = Activation(("push-to-talk", "toggle"), 0.3)
    activation.pressed(is_open=False, speaking=False)
    assert activation.released(0.3) is Wish.TURN_OVER
    assert not activation.talking


@pytest.mark.parametrize(("hands_free", "wish"), [(True, Wish.NOTHING), (False, Wish.TURN_OVER)])
def test_letting_go_ends_a_turn_unless_all_is_heard_anyway(hands_free: bool, wish: Wish) -> None:
    """A button for holding, in a conversation that is open for whoever speaks, or not."""
    activation = Activation(("always-on",), 0.3)
    if hands_free:
        activation.opened_by_itself()
    activation.hold(is_open=True, speaking=False)
    assert activation.let_go() is wish
