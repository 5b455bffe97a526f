"""Which of the device's own sounds plays when: one table from changes that a person must notice to earcon and clip.

- Not over the agent's voice, unless a person's hand asked; an interruption counts as silence.
- Not twice: an outage is told once and spoken of once, and nothing repeats within 2 s, unless a person presses.
- What is spoken ends when the agent begins to speak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from device_agent.config.schema import Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.indicator import Snapshot
from device_agent.core.speaker import Speaker
from device_agent.core.state import State
from device_agent.core.tables import Link, Turn
from device_agent.records import record

REPEAT_S = 2.0
DRAIN_S = 0.25  # from the last sample handed over until it has sounded, whatever the card
LONGEST_S = 12.0  # no clip is longer: a driver that does not answer must not keep the loudspeaker open

CAUSES = {"setup": "configuration", "account": "account", "config": "refused", "security": "security", "clock": "clock"}
"""What is said of a fault, by the group of the verdict on the connection's end; "setup": it could not even be tried."""
TRYING = (Link.OPENING, Link.INITIATING)


@record
class Change:
    """What `Sounds` looks at: the snapshot before and after an event, and what a person did just now."""

    before: Snapshot
    after: Snapshot
    pressed: bool = False
    turned: bool = False
    """A person has set the volume."""
    interrupted: bool = False
    speaking: bool = False
    told: bool = False
    """The person knows that the device listens."""

    def becomes(self, field: str) -> bool:
        """Whether this field was empty or false, or is another text now."""
        value = getattr(self.after, field)
        return bool(value) and value != getattr(self.before, field)

    @property
    def hears(self) -> bool:
        """Whether the microphone is open to the agent."""
        return not (self.after.muted or self.after.microphone)

    def link(self, *froms: Link) -> bool:
        """Whether the link has just left one of these states."""
        return self.before.link in froms and self.after.link not in froms


@record
class Rule:
    """`speech` may be "cause": what is known of the fault. `hand`: it sounds over the agent, and as often as asked."""

    holds: Callable[[Change], bool]
    earcon: str
    speech: str = ""
    hand: bool = False


RULES = (
    Rule(lambda x: x.becomes("fault"), "error", "cause"),
    Rule(lambda x: bool(x.after.fault and x.before.loudspeaker) and not x.after.loudspeaker, "error", "cause"),
    Rule(lambda x: x.becomes("microphone"), "no-microphone", "no-microphone"),
    Rule(lambda x: x.becomes("muted"), "muted", hand=True),
    Rule(lambda x: x.before.muted and not x.after.muted, "unmuted", hand=True),
    Rule(lambda x: x.pressed and x.after.muted, "muted", "muted", hand=True),
    Rule(lambda x: x.pressed and bool(x.after.microphone), "no-microphone", "no-microphone", hand=True),
    Rule(lambda x: bool(x.after.advice) and x.link(*TRYING), "no-network", "cause"),
    Rule(lambda x: x.after.link is Link.BACKOFF and x.link(*TRYING), "no-network", "no-network"),
    Rule(lambda x: x.after.link is Link.BACKOFF and x.link(Link.READY), "no-network"),
    Rule(lambda x: x.pressed and Link.BACKOFF in (x.before.link, x.after.link), "no-network", hand=True),
    Rule(lambda x: x.becomes("queued"), "waiting", "waiting"),
    Rule(lambda x: x.pressed and x.interrupted, "listening", hand=True),
    Rule(lambda x: x.pressed and x.after.link is Link.OPENING is not x.before.link, "listening", hand=True),
    Rule(lambda x: x.pressed and bool(x.after.closed) and x.after.link is Link.DOWN, "error", hand=True),
    Rule(lambda x: x.pressed and x.after.link in (Link.DOWN, Link.CLOSING), "done", hand=True),
    Rule(lambda x: x.pressed, "press", hand=True),
    Rule(lambda x: x.after.link is Link.READY and x.link(*TRYING) and x.hears and not x.told, "listening"),
    Rule(lambda x: x.before.turn is not Turn.IDLE and x.after.turn is Turn.IDLE, "done"),
    Rule(lambda x: x.turned and not x.speaking, "volume", hand=True),
)  # fmt: skip
"""The first that holds is played."""


class Sounds:
    """`look` after each event: it orders what must sound."""

    def __init__(self, settings: Settings, state: State, speaker: Speaker) -> None:
        self._settings = settings
        self._wanted = settings.sounds
        self._state = state
        self._speaker = speaker
        self._seen = state.snapshot
        self._pressed = self._turned = self._told = False
        self._outage: set[str] = set()  # what has been told of it
        self._cause = ""
        self._number = 0
        self._played: dict[Rule, float] = {}

    def pressed(self) -> None:
        """A person has pressed: whatever that means, it is answered."""
        self._pressed = True
        self._outage.clear()

    def turned(self) -> None:
        """A person has set the volume."""
        self._turned = True

    def cause(self, group: str) -> None:
        """The verdict on the end of a connection."""
        self._cause = CAUSES.get(group, "")

    def look(self) -> None:
        """Order what the last event calls for. Called at the end of each."""
        state = self._state
        if state.snapshot is self._seen and not self._pressed and not self._turned:
            return
        before, self._seen = self._seen, state.snapshot
        after = self._seen
        if state.spoken and after.turn is Turn.SPEAKING:
            self._order("", "")
        interrupted = any(isinstance(order, c.Flush) for order in state.orders)
        speaking = self._speaker.sounding and not interrupted
        change = Change(before, after, self._pressed, self._turned, interrupted, speaking, self._told)
        self._pressed = self._turned = False
        rule = next((rule for rule in RULES if rule.holds(change)), None)
        if rule is not None and (rule.hand or not speaking):
            self._play(rule)
        if after.link is Link.READY:
            self._outage.clear()
        elif after.link not in TRYING:
            self._told = False

    def chirp(self) -> None:
        """The self check's own sound, which no setting turns off."""
        self._order("chirp", "")

    def ended(self, event: e.ClipEnded) -> None:
        """A clip was handed over whole; it is audible a little longer."""
        if event.number == self._number and self._state.clip:
            tail_s = self._settings.audio.tail_ms / 1000 if self._state.spoken else 0.0
            self._state.after("clip", max(DRAIN_S, tail_s))

    def want(self, event: e.SoundsWanted) -> None:
        """Another configuration."""
        wanted = replace(self._wanted, earcons=event.earcons, speech=event.speech, language=event.language)
        self._wanted = wanted

    def over(self) -> None:
        """Nothing of ours sounds any more."""
        self._state.clip = self._state.spoken = False

    def _play(self, rule: Rule) -> None:
        now, wanted = self._state.now, self._wanted
        if not rule.hand and now - self._played.get(rule, float("-inf")) < REPEAT_S:
            return
        self._played[rule] = now
        self._told = rule.earcon == "listening"
        earcon, speech = rule.earcon, self._cause if rule.speech == "cause" else rule.speech
        if earcon == "no-network":
            told = {earcon, f"say {speech}"} if speech else {earcon}
            if told <= self._outage and not rule.hand:
                return
            self._outage |= told
        earcon, speech = earcon if wanted.earcons else "", speech if wanted.speech else ""
        if (earcon or speech) and self._state.snapshot.volume > 0:
            self._order(earcon, speech)

    def _order(self, earcon: str, speech: str) -> None:
        state = self._state
        self._number += 1
        language = self._wanted.language or state.snapshot.language
        state.orders.append(c.PlayClip(self._number, earcon, speech, language))
        state.clip, state.spoken = bool(earcon or speech), bool(speech)
        state.cancel("clip")
        if state.clip:
            state.after("clip", LONGEST_S)
