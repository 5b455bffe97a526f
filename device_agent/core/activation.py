"""What a person's press means: push-to-talk, toggle, always-on, and their combinations."""

from __future__ import annotations

from enum import Enum

PUSH_TO_TALK, TOGGLE, ALWAYS_ON = "push-to-talk", "toggle", "always-on"


class Wish(Enum):
    """What the person wants from the conversation."""

    NOTHING = "nothing"
    OPEN = "open"
    CLOSE = "close"
    INTERRUPT = "interrupt"
    TURN_OVER = "turn over"


class Activation:
    """Turns presses into wishes. `talking` says whether the microphone is meant for the agent now.

    A press acts on its leading edge, unless push-to-talk and toggle are combined: then only its length tells
    whether the press of an open conversation meant "close".
    """

    def __init__(self, modes: tuple[str, ...], hold_s: float) -> None:
        self.hands_free = False
        self.held = False
        self._push = PUSH_TO_TALK in modes
        self._toggle = TOGGLE in modes
        self.always_on = ALWAYS_ON in modes
        self._hold_s = hold_s
        self._began = Wish.NOTHING

    @property
    def talking(self) -> bool:
        return self.hands_free or self.held

    def pressed(self, is_open: bool, speaking: bool) -> Wish:
        """The button goes down while a conversation `is_open` and the agent is `speaking`."""
        self.held = self._push
        if speaking:
            self._began = Wish.INTERRUPT
        elif not is_open:
            self._began = Wish.OPEN
            self.hands_free = not self._push
        elif self._toggle and not self._push:
            self._began = Wish.CLOSE
        else:
            self._began = Wish.NOTHING
        return self._began

    def released(self, held_s: float) -> Wish:
        """The button comes up after `held_s` seconds."""
        self.held = False
        if not self._push:
            return Wish.NOTHING
        if not self._toggle or held_s >= self._hold_s:
            return Wish.NOTHING if self.hands_free else Wish.TURN_OVER
        if self._began is Wish.NOTHING:
            return Wish.CLOSE
        self.hands_free = True
        return Wish.NOTHING

    def opened_by_itself(self) -> None:
        """Always-on opened the conversation: nobody holds a button."""
        self.hands_free = True

    def over(self) -> None:
        """The conversation ended."""
        self.hands_free = False
