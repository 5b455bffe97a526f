"""Hands: what is wrong with a button is known, and harms nobody."""

from __future__ import annotations

from scenario import Stage, configured

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.indicator import Snapshot


def seen(stage: Stage) -> Snapshot:
    return stage.core.snapshot


def test_a_stuck_button_is_told_until_it_comes_up() -> None:
    """Ten seconds without a word: everybody who looks sees which button it is."""
    stage = Stage(configured([("activation.modes", "push-to-talk")]))
    stage.do("press")
    stage.until(9.9)
    assert seen(stage).buttons == ""
    stage.until(10.1)
    assert seen(stage).buttons == "button button is stuck: it is ignored until it comes up"
    stage.do("release")
    assert seen(stage).buttons == ""


def test_a_chattering_button_is_told() -> None:
    """A contact that does not come to rest for a second is broken."""
    stage = Stage(configured([("activation.modes", "toggle")]))
    stage.do("bounces 100 in 2000 ms")
    assert seen(stage).buttons == "button button chatters: check its wiring"
    stage.until(3.0)
    assert seen(stage).buttons == ""


def test_a_press_that_never_became_clear_ends_what_it_opened_ahead() -> None:
    """A button that is stuck half-way through a gesture leaves no conversation open."""
    stage = Stage(
        configured(
            [("activation.modes", "toggle"), ("panel.buttons", '{red = {pin = 5, press = "talk", double = "stop"}}')]
        )
    )
    stage.do("press red")
    assert stage.conn == 1
    stage.until(11.0)
    assert [order for _, order in stage.done if isinstance(order, c.Disconnect)]


def test_an_edge_of_another_button_is_none_of_ours() -> None:
    """What is not configured is not asked about."""
    stage = Stage(configured([("activation.modes", "toggle")]))
    stage.do("press yellow")
    assert stage.conn == 0


def test_a_press_that_talks_in_one_state_only_does_not_connect_ahead_in_another() -> None:
    """Ahead goes only what may come to mean talking now."""
    table = '{red = {pin = 5, press = "stop", double = "mute", when = {speaking = {press = "talk"}}}}'
    stage = Stage(configured([("activation.modes", "toggle"), ("panel.buttons", table)]))
    stage.do("press red")
    stage.do("release red")
    stage.until(1.0)
    assert stage.conn == 0


def test_after_the_stop_no_door_opens() -> None:
    """Whoever comes or calls when the process is about to end opens nothing."""
    stage = Stage(configured([("activation.modes", "presence, wake-word")]))
    stage.do("stop")
    stage.give(e.Presence(True))
    stage.give(e.WakeWord("computer", -1))
    stage.give(e.Remote("talk"))
    assert stage.conn == 0


def test_a_press_without_a_meaning_in_this_state_is_only_answered() -> None:
    """A button that means something only while the agent speaks does nothing at other times, down or up."""
    table = '{red = {pin = 5, when = {speaking = {press = "stop"}}}}'
    stage = Stage(configured([("panel.buttons", table), ("sounds.earcons", "true")]))
    stage.do("press red")
    stage.until(0.2)
    stage.do("release red")
    assert orders_of(stage) == [c.PlayClip]


def test_its_own_sounds_follow_a_configuration_that_is_read_again() -> None:
    """Switched off, a press is silent; switched on again, it is answered."""
    stage = Stage(configured([("activation.modes", "remote"), ("sounds.earcons", "true")]))
    counts = []
    for earcons in (True, False, True):
        stage.give(e.SoundsWanted(earcons, speech=False))
        stage.do("press")
        stage.until(stage.now + 0.1)
        stage.do("release")
        stage.until(stage.now + 10.0)
        counts.append(orders_of(stage).count(c.PlayClip))
    assert counts == [1, 1, 2]


def orders_of(stage: Stage) -> list[type]:
    return [
        type(order) for _, order in stage.done if not isinstance(order, c.Show | c.UseLoudspeaker | c.UseMicrophone)
    ]
