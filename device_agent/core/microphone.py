"""The microphone's side of a conversation: whether somebody speaks, and what of it goes out."""

from __future__ import annotations

from math import ceil

from device_agent.config.schema import Settings
from device_agent.core.activation import Activation
from device_agent.core.events import Frame
from device_agent.core.gate import FRAME_MS, Gate
from device_agent.core.speaker import Speaker
from device_agent.core.state import State
from device_agent.core.tables import Link
from device_agent.core.uplink import Uplink

THINKING_S = 15.0
SECOND_OPINION_MS = 200  # it is that much surer, and later
LATE_S = 0.04  # a frame that comes so much later than its capture promised is replaced by silence
FRAME_S = FRAME_MS / 1000
NEAR_DB = 6.0  # below the loudest speech of a conversation; who has stepped back so far is known by the agent's answers
CANCELLED = ("external", "aec", "speex")
"""Means against echo that leave the microphone open while the agent speaks, and a residue in what it hears."""


class Microphone:
    """Takes each captured frame twice: `hear` judges it, `keep` puts it, or silence in its place, on its way.

    Nothing goes out before the metadata, nor while the service makes us wait: it is kept (`_may_send`). Where the
    microphone hears the loudspeaker it is not listened to while the agent is audible, unless a person presses
    (`_is_deaf`). Where something cancels its echo, what is left of that must not count as speech: the gate is stricter
    while the agent is audible, and until it opens the agent is sent silence (`_residual`).
    """

    def __init__(self, settings: Settings, state: State, activation: Activation, speaker: Speaker) -> None:
        fixed = settings.audio.echo in ("off", "external")
        self.means = settings.audio.echo if fixed else "half-duplex"  # until the capture thread has chosen
        self._gated = settings.audio.barge_in == "gated"
        self._residual = False  # the agent is audible, and what the microphone hears may be its remains
        self._state = state
        self._activation = activation
        self._speaker = speaker
        self.gate = Gate(settings.gate)
        self._uplink = Uplink()
        self._open = settings.gate.uplink == "open"
        slow = SECOND_OPINION_MS if settings.gate.second_opinion != "none" else 0
        self._preroll = (settings.gate.preroll_ms + slow) // FRAME_MS
        self._wake_preroll = settings.wake.preroll_ms // FRAME_MS
        self._late_s = FRAME_S + LATE_S
        self._deaf = False
        self._fresh = 0  # the first frame that a pre-roll may hold: after what was sent or must not be heard
        self._heard = -1  # the last frame
        self._filled = 0  # silence sent since the last frame, because the next did not come
        self._filled_at = 0.0
        self._loudest = float("-inf")  # speech of this conversation, dBFS
        self.near = False
        """Somebody speaks about as loud as before in this conversation: no television, nor the next table."""

    @property
    def speech(self) -> bool:
        """Whether somebody speaks now."""
        return self.gate.open

    def hear(self, frame: Frame) -> bool | None:
        """True: somebody begins to speak; False: they have ended; None: no change."""
        self._heard = frame.seq
        self._deaf = self._is_deaf
        if self._deaf:
            self._fresh = frame.seq + 1
        before, self._residual = self._residual, self.means in CANCELLED and self._agent_heard
        if self._residual and not before:
            self.gate.reset()  # who speaks on must be told anew from the echo
        speech = frame.speech and not self._deaf
        change = self.gate.frame(speech, frame.level, strict=self._residual)
        self._judge_distance(speech and self.gate.open)
        return change

    def preroll(self, seq: int, extra: bool) -> None:
        """Add what was heard just before frame `seq`; `extra`: silence has gone out in its place already."""
        for earlier in range(max(self._fresh, seq - self._preroll), seq):
            self._uplink.add(earlier, live=True)
            self._uplink.borrowed += extra

    def recall(self, first: int | None = None) -> None:
        """Add what has been heard from frame `first` on, or as far back as a pre-roll goes."""
        since = self._heard + 1
        for seq in range(max(self._fresh, since - self._preroll if first is None else first), since):
            self._uplink.add(seq, live=True)
            self._uplink.borrowed += self._state.link is Link.READY
        self._fresh = since

    def woken(self, seq: int, opens: bool) -> None:
        """A wake word ended in frame `seq`: add what follows it, and where it `opens` a conversation itself as well."""
        self.recall(seq + 1 - (self._wake_preroll if opens else 0))

    def user_done(self) -> None:
        """The user's turn is over."""
        if self._state.turn_signal("user done"):
            self._state.after("think", THINKING_S)

    def keep(self, frame: Frame) -> None:
        """Queue the frame if it is meant for the agent, silence otherwise, and send what is due."""
        self._late_s = frame.next_s + LATE_S
        if self._filled:
            self._repay(frame.t)
        # A wait between two attempts, or for a free place, may be long: only speech is worth keeping then.
        every = self._open and self._state.link is not Link.BACKOFF and not self._state.snapshot.queued
        passes = every or self._activation.held or self.gate.open
        withheld = self._residual and self._gated and not (self.gate.open or self._activation.held)
        heard = passes and self._activation.talking and not (self._deaf or withheld)
        if heard:
            self._fresh = frame.seq + 1
        self._uplink.add(frame.seq if heard else None, live=self._may_send)
        unheard_s = ceil(self._uplink.dropped * FRAME_S)
        if unheard_s > self._state.snapshot.unheard_s:
            self._state.change(unheard_s=unheard_s)
        self.release()

    def release(self) -> None:
        """Send what is due, if it may go out now."""
        if self._may_send:
            self._state.orders += self._uplink.release(self._state.conn)
            self._state.after("late", self._late_s)

    def late(self) -> None:
        """No frame came in time: the server still hears time go by."""
        if self._may_send:
            self._filled += 1
            self._filled_at = self._state.now
            self._uplink.add(None, live=True)
            self.release()
            self._state.after("late", FRAME_S)

    def connect(self) -> None:
        """Another server, which has heard nothing yet: no debts."""
        self._uplink.borrowed = self._filled = 0
        self._loudest = float("-inf")

    def disconnect(self) -> None:
        """The conversation is over: nothing is on its way any more."""
        self._uplink.clear()

    def mute(self) -> None:
        """Forget all that was heard."""
        self._uplink.clear()
        self.gate.reset()

    def _judge_distance(self, speech: bool) -> None:
        if speech:
            self._loudest = max(self._loudest, self.gate.level)
        self.near = speech and self.gate.level >= self._loudest - NEAR_DB

    @property
    def _is_deaf(self) -> bool:
        return self._state.snapshot.muted or (self.hears_itself and not self._activation.held)

    @property
    def hears_itself(self) -> bool:
        """Whether the loudspeaker gives anything, and nothing takes it out of what the microphone hears."""
        return self.means == "half-duplex" and self._agent_heard

    @property
    def _agent_heard(self) -> bool:
        """Whether the loudspeaker gives anything that the microphone could hear."""
        return self._speaker.echoes or self._state.spoken

    @property
    def _may_send(self) -> bool:
        return self._state.link is Link.READY and not self._state.snapshot.queued

    def _repay(self, t: float) -> None:
        """A frame came after a gap that silence has filled: is it one of those that were missed, or a later one?"""
        if t <= self._filled_at:
            self._filled -= 1
            self._uplink.borrowed += 1
        else:
            self._filled = 0
