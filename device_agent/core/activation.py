"""What opens a conversation, and what a person's press means in each combination of modes."""

from __future__ import annotations

from enum import Enum

PUSH_TO_TALK, TOGGLE, ALWAYS_ON, VOICE, WAKE_WORD, PRESENCE, REMOTE, ONE_SHOT = MODES = (
    "push-to-talk", "toggle", "always-on", "voice", "wake-word", "presence", "remote", "one-shot",
)  # fmt: skip


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
        self.by_voice = ALWAYS_ON in modes or VOICE in modes
        """Speech opens a conversation."""
        self.by_wake_word = WAKE_WORD in modes
        self.by_presence = PRESENCE in modes
        self.one_shot = ONE_SHOT in modes
        self._hold_s = hold_s
        self._began = Wish.NOTHING

    @property
    def talking(self) -> bool:
        return self.hands_free or self.held

    @property
    def listens(self) -> bool:
        """Whether the microphone is needed before there is a conversation."""
        return self.by_voice or self.by_wake_word

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

    def hold(self, is_open: bool, speaking: bool) -> Wish:
        """A button that is for holding goes down: push-to-talk, whatever the modes say."""
        self.held = True
        return Wish.INTERRUPT if speaking else Wish.NOTHING if is_open else Wish.OPEN

    def let_go(self) -> Wish:
        """… and comes up."""
        self.held = False
        return Wish.NOTHING if self.hands_free else Wish.TURN_OVER

    def opened_by_itself(self) -> None:
        """The conversation is open for whoever speaks: nobody holds a button."""
        self.hands_free = True

    def over(self) -> None:
        """The conversation ended."""
        self.hands_free = False
