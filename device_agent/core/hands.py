"""Hands on the buttons: edges in, actions out. What bounces, chatters or is stuck never gets further than this room."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from device_agent.config.buttons import Button as Place
from device_agent.core.button import Button, Press, Release
from device_agent.core.events import Edge
from device_agent.core.gestures import RELEASE, Gestures
from device_agent.core.indicator import Snapshot
from device_agent.core.state import State
from device_agent.core.tables import Link

STUCK_S = 10.0  # held for so long, without a word, a button is stuck
TALK = "talk"


def state_name(seen: Snapshot) -> str:
    """The state of the device by which a button's action may differ."""
    if seen.muted:
        return "muted"
    if seen.link is Link.BACKOFF:
        return "offline"
    if seen.link in (Link.OPENING, Link.INITIATING):
        return "connecting"
    return seen.turn.value


class Hand:
    """One button, its gestures, and what the last of them has begun."""

    def __init__(self, place: Place, debounce_s: float, hold_s: float) -> None:
        self.place = place
        self.button = Button(debounce_s)
        self.gestures = Gestures(place.gestures, hold_s)
        self.begun = ""
        self.stuck = False
        self.stuck_at: float | None = None

    @property
    def deadlines(self) -> Iterable[float | None]:
        return self.button.next_deadline(), self.gestures.next_deadline, self.stuck_at


class Hands:
    """`act(action, gesture, held)` does it: `gesture` is "release" when what was begun ends, after `held` seconds.

    `touched(button, action)` is called at each accepted press; the action is empty while it is not clear. `speaking`
    says whether somebody speaks now: who holds a button and speaks has not got it stuck.
    """

    def __init__(
        self,
        places: Iterable[Place],
        state: State,
        debounce_s: float,
        hold_s: float,
        act: Callable[[str, str, float], None],
        touched: Callable[[Place, str], None],
        speaking: Callable[[], bool],
    ) -> None:
        self._hands = {place.name: Hand(place, debounce_s, hold_s) for place in places}
        self._state = state
        self._act = act
        self._touched = touched
        self._speaking = speaking

    def edge(self, edge: Edge) -> None:
        """A raw edge of a button that is configured; others are none of ours."""
        hand = self._hands.get(edge.button)
        if hand is not None:
            self._say(hand, hand.gestures.tick(edge.t), 0.0)
            self._moved(hand, hand.button.edge(edge.pressed, edge.t))
        self._watch()

    def tick(self) -> None:
        """Time has passed: contacts are at rest, gestures are clear, buttons are stuck."""
        now = self._state.now
        for hand in self._hands.values():
            self._say(hand, hand.gestures.tick(now), 0.0)
            self._moved(hand, hand.button.tick(now))
            if hand.stuck_at is not None and hand.stuck_at <= now:
                self._held_long(hand)
        self._watch()

    def _moved(self, hand: Hand, moves: list[Press | Release]) -> None:
        for move in moves:
            if isinstance(move, Press):
                self._state.active()
                hand.stuck_at = move.t + STUCK_S
                state = state_name(self._state.snapshot)
                gestures = hand.gestures.down(move.t)
                self._touched(hand.place, hand.place.action(gestures[0], state) if gestures else "")
                self._say(hand, gestures, 0.0)
            else:
                hand.stuck_at = None
                if hand.stuck:
                    hand.stuck = False
                else:
                    self._state.active()
                    self._say(hand, hand.gestures.up(move.t, move.held), move.held)

    def _say(self, hand: Hand, gestures: list[str], held: float) -> None:
        for gesture in gestures:
            if gesture == RELEASE:
                action, hand.begun = hand.begun, ""
            else:
                action = hand.place.action(gesture, state_name(self._state.snapshot))
                hand.begun = action if hand.button.pressed else ""
            if action or gesture != RELEASE:
                self._act(action or "nothing", gesture, held)

    def _held_long(self, hand: Hand) -> None:
        if hand.begun == TALK and self._speaking():
            hand.stuck_at = self._state.now + STUCK_S
            return
        hand.stuck, hand.stuck_at = True, None
        self._say(hand, hand.gestures.forget(), STUCK_S)
        self._act("nothing", "stuck", STUCK_S)

    def _watch(self) -> None:
        """One timer for all; and what is wrong with a button is told."""
        now, wrong = self._state.now, ""
        due: list[float] = []
        for hand in self._hands.values():
            due += [at for at in hand.deadlines if at is not None]
            if hand.stuck:
                wrong = f"button {hand.place.name} is stuck: it is ignored until it comes up"
            elif hand.button.chatters(now):
                wrong = f"button {hand.place.name} chatters: check its wiring"
        if wrong != self._state.snapshot.buttons:
            self._state.change(buttons=wrong)
        if due:
            self._state.after("button", min(due) - now)
        else:
            self._state.cancel("button")
