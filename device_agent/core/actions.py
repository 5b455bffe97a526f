"""What a person can make the device do, whether by a button's gesture, the control socket, a wake word or by coming."""

from __future__ import annotations

from collections.abc import Callable

from device_agent.config.buttons import Button
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.activation import Activation, Wish
from device_agent.core.connection import Connection
from device_agent.core.gestures import RELEASE
from device_agent.core.hands import TALK, state_name
from device_agent.core.languages import Languages
from device_agent.core.microphone import Microphone
from device_agent.core.mute import Mute
from device_agent.core.sounds import Sounds
from device_agent.core.speaker import Speaker
from device_agent.core.state import State
from device_agent.core.tables import Link
from device_agent.core.volume import Volume

STEP = 10
VOLUMES = {"volume_up": STEP, "volume_down": -STEP}
REPEAT_S = 0.3  # while a volume button is held


class Actions:
    """`act` is called by `Hands`; the other doors are events."""

    def __init__(
        self,
        state: State,
        activation: Activation,
        connection: Connection,
        microphone: Microphone,
        speaker: Speaker,
        sounds: Sounds,
        volume: Volume,
        mute: Mute,
        languages: Languages,
        away_s: float,
    ) -> None:
        self._state = state
        self._activation = activation
        self._connection = connection
        self._microphone = microphone
        self._speaker = speaker
        self._sounds = sounds
        self._volume = volume
        self._mute = mute
        self._languages = languages
        self._away_s = away_s
        self._ahead = False  # opened at an edge that may come to mean "talk"
        self._tools = 0
        self._repeats = ""
        self._holds = False  # talking began with a gesture that is for holding

    # ------------------------------------------------------------------------------- buttons
    def touched(self, button: Button, action: str) -> None:
        """A button went down; `action` is empty while its gesture is not clear. What may be talking connects ahead."""
        if action not in VOLUMES:
            self._sounds.pressed()
        if action or self._connection.is_open or self._state.link is Link.BACKOFF:
            return
        state = state_name(self._state.snapshot)
        if TALK in (button.action(gesture, state) for gesture in button.gestures):
            self._ahead = True
            self._connection.pressed()

    def act(self, action: str, gesture: str, held: float = 0.0) -> None:
        """Do it; "release" ends what a held button began."""
        ahead, self._ahead = self._ahead, False
        if action == TALK:
            self._talk(gesture, held, ahead)
        elif gesture == RELEASE:
            self._state.cancel("repeat")
        else:
            if ahead:
                self._connection.close("button")
            self.perform(action)
            if gesture == "hold" and action in VOLUMES:
                self._repeats = action
                self._state.after("repeat", REPEAT_S)

    def repeat(self) -> None:
        """A volume button is held."""
        self.perform(self._repeats)
        self._state.after("repeat", REPEAT_S)

    def _talk(self, gesture: str, held: float, ahead: bool) -> None:
        is_open = self._connection.is_open and not ahead  # what was opened ahead was not open when the hand came down
        speaking = is_open and self._speaker.sounding
        if gesture == RELEASE:
            self._grant(self._activation.let_go() if self._holds else self._activation.released(held))
        elif gesture == "hold":
            self._holds = True
            self._grant(self._activation.hold(is_open, speaking))
            self._microphone.recall()  # what was said since the hand came down
        else:
            self._holds = False
            self._grant(self._activation.pressed(is_open, speaking))

    def _grant(self, wish: Wish) -> None:
        if wish is Wish.OPEN:
            self._connection.pressed()
        elif wish is Wish.CLOSE:
            self._connection.close("button")
        elif wish is Wish.TURN_OVER:
            self._microphone.user_done()
        elif wish is Wish.INTERRUPT:
            self._speaker.stopped()

    # ------------------------------------------------------------------------------- anybody
    def remote(self, wish: e.Remote) -> None:
        """The control socket, or a screen, wants it: what takes a hand on a button is done without one."""
        self._state.active()
        self.perform(wish.action)

    def perform(self, action: str) -> None:
        """Do what needs no hand on a button. What is no action does nothing: see `config.buttons.is_action`."""
        kind, _, text = action.partition(":")
        if action in VOLUMES:
            self._volume.wish(e.Volume(VOLUMES[action]))
            self._sounds.turned()
        elif text:
            {"say": self._say, "context": self._connection.inform}.get(kind, self._run)(text)
        else:
            done = SIMPLE.get(action)
            if done is not None:
                done(self)

    def _open(self) -> None:
        if not self._connection.is_open:
            self._connection.pressed()
        if self._connection.is_open or self._state.link is Link.BACKOFF:
            self._activation.opened_by_itself()

    def _next_language(self) -> None:
        """Another language needs another conversation."""
        if not self._languages.next():
            return
        if self._connection.is_open:
            self._connection.again("language")

    def _say(self, text: str) -> None:
        """The user says it, by way of the device."""
        self._connection.say(text)
        if self._state.link is not Link.READY:
            self._open()

    def _run(self, tool: str) -> None:
        self._tools += 1
        self._state.orders.append(c.RunTool(self._state.conn, f"button-{self._tools}", tool, {}))

    # ------------------------------------------------------------------------------- other doors
    def wake_word(self, word: e.WakeWord) -> None:
        """It opens a conversation, which hears the word and all that follows; it makes the agent stop."""
        if not self._activation.by_wake_word or self._state.snapshot.muted:
            return
        self._state.active()
        self._sounds.pressed()
        if self._speaker.sounding:
            self._speaker.stopped()
        opens = self._state.link in (Link.DOWN, Link.CLOSING)
        self._open()
        self._microphone.woken(word.seq, opens)

    def presence(self, presence: e.Presence) -> None:
        """Somebody comes, or has gone."""
        if not presence.present:
            self._state.after("away", self._away_s)
            return
        self._state.cancel("away")
        if self._activation.by_presence and not self._connection.is_open:
            self._state.active()
            self._open()

    def away(self) -> None:
        """Nobody has been there for a while: the next one gets a fresh conversation."""
        if self._state.link is not Link.DOWN:
            self._connection.close("nobody there")


SIMPLE: dict[str, Callable[[Actions], object]] = {
    TALK: Actions._open,
    "end": lambda self: self._connection.close("ended"),
    "stop": lambda self: self._speaker.stopped(),
    "mute": lambda self: self._mute.wished(e.Mute(None)),
    "language_next": Actions._next_language,
    "restart": lambda self: self._state.orders.append(c.Restart()),
    "shutdown": lambda self: self._state.orders.append(c.PowerOff()),
}
