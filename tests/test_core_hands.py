"""Hands: what is wrong with a button is known, and harms nobody."""

from __future__ import annotations

from typing import Any

import pytest
from scenario import Stage, configured

from device_agent.config.buttons import buttons
from device_agent.config.schema import Panel
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.hands import Hands
from device_agent.core.indicator import Snapshot
from device_agent.core.state import State
from device_agent.core.tables import Turn


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


def test_a_sensor_without_its_mode_opens_nothing() -> None:
    """Somebody may come: only activation.modes = "presence" says that this means a conversation."""
    stage = Stage(configured([("activation.modes", "toggle")]))
    stage.give(e.Presence(True))
    assert stage.conn == 0


class Room:
    """Hands with one red button; what they say and answer is written down."""

    def __init__(self, **actions: Any) -> None:
        self.state = State(60.0)
        self.acts: list[tuple[str, str, float]] = []
        self.answers: list[tuple[str, str]] = []
        self.hands = Hands(
            buttons(Panel(buttons={"red": {"pin": 5, **actions}})), self.state, 0.02, 0.3,
            lambda *act: self.acts.append(act), lambda place, action: self.answers.append((place.name, action)),
            lambda: False,
        )  # fmt: skip

    def move(self, t: float, pressed: bool | None = None) -> None:
        """At `t` the button goes down or up, or only time has passed."""
        self.state.now = t
        if pressed is not None:
            self.hands.edge(e.Edge("red", pressed, t))
        self.hands.tick()


@pytest.mark.parametrize(("turn", "action"), [(Turn.IDLE, "mute"), (Turn.SPEAKING, "stop")])
def test_a_press_is_answered_with_what_it_means_now(turn: Turn, action: str) -> None:
    """The answer is that of this state, and comes with the press."""
    room = Room(press="mute", when={"speaking": {"press": "stop"}})
    room.state.change(turn=turn)
    room.move(1.0, True)
    assert room.answers == [("red", action)]
    assert room.acts == [(action, "press", 0.0)]


def test_a_press_that_is_not_clear_yet_is_answered_without_a_meaning() -> None:
    """It may become a double one."""
    room = Room(press="mute", double="stop")
    room.move(1.0, True)
    assert room.answers == [("red", "")]
    assert room.acts == []


def test_a_stuck_button_is_an_event_and_then_nothing() -> None:
    """After ten seconds; what it had begun ends, and its coming up means nothing."""
    room = Room(press="talk")
    room.move(1.0, True)
    room.move(11.0)
    assert room.acts[1:] == [("talk", "release", 10.0), ("nothing", "stuck", 10.0)]
    room.move(12.0, False)
    assert len(room.acts) == 3


def test_a_gesture_that_the_next_edge_makes_clear_lasted_no_time() -> None:
    """A single press is told when the next one comes too late to make it a double one."""
    room = Room(press="mute", double="stop")
    for t, pressed in ((1.0, True), (1.1, False)):
        room.move(t, pressed)
    room.state.now = 2.0
    room.hands.edge(e.Edge("red", True, 2.0))
    assert room.acts == [("mute", "press", 0.0)]


def test_a_button_at_rest_has_no_timer() -> None:
    """Nothing wakes the device for a button that nobody touches."""
    room = Room(press="talk")
    room.move(1.0, True)
    assert "button" in room.state.timers
    room.move(1.5, False)
    for t in (1.6, 2.0, 3.0):
        room.move(t)
    assert "button" not in room.state.timers


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


def test_what_it_says_follows_a_configuration_that_is_read_again() -> None:
    """Speech switched on, in another language: the next fault is said so."""
    stage = Stage(configured([("activation.modes", "toggle"), ("sounds.earcons", "false")]))
    stage.give(e.SoundsWanted(earcons=False, speech=True, language="de"))
    stage.do("start")
    stage.do("press")
    stage.do("refused 401")
    said = [order for _, order in stage.done if isinstance(order, c.PlayClip)]
    assert [bool(order.speech) and order.language for order in said] == ["de"]


def test_a_press_forgets_the_fault_of_the_last_attempt() -> None:
    """Nothing is wrong until the next one says so."""
    stage = Stage(configured([("activation.modes", "always-on")]))
    stage.do("start")
    stage.do("refused 401")
    assert seen(stage).fault
    stage.until(1.0)
    stage.do("press")
    assert seen(stage).fault == ""


def orders_of(stage: Stage) -> list[type]:
    return [
        type(order) for _, order in stage.done if not isinstance(order, c.Show | c.UseLoudspeaker | c.UseMicrophone)
    ]
