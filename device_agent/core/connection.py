"""The link's side of a conversation: opened, lost, tried again, closed.

A *lost* link ends the turn and silences the agent; a normal end lets the farewell sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.activation import Activation
from device_agent.core.calls import Calls
from device_agent.core.ending import Kind, classify
from device_agent.core.initiation import initiation
from device_agent.core.languages import Languages
from device_agent.core.microphone import Microphone
from device_agent.core.recap import Recap
from device_agent.core.retry import GOOD_CONVERSATION_S, Retry
from device_agent.core.sounds import Sounds
from device_agent.core.speaker import Speaker
from device_agent.core.state import OF_A_CONNECTION, State
from device_agent.core.tables import Link
from device_agent.protocol import messages as m

RENEWED = "renewed"
CLOSING_S = 2.0
PRESS_WAKES_S = 2.0  # a press may cut a wait short, this often at most
SPEECH_WAKES_S = 10.0
USER_WAITS_S = 30.0  # after this long without a sign of the user a lost conversation is not taken up again


class Connection:
    """Moves the link's machine; the rooms whose work begins and ends with a connection are told here."""

    def __init__(
        self,
        state: State,
        languages: Languages,
        activation: Activation,
        microphone: Microphone,
        speaker: Speaker,
        calls: Calls,
        sounds: Sounds,
        rng: Callable[[], float],
    ) -> None:
        self._state = state
        self._languages = languages
        self._activation = activation
        self._microphone = microphone
        self._speaker = speaker
        self._calls = calls
        self._sounds = sounds
        self.retry = Retry(rng)
        self.recap = Recap()
        self.stopped = False
        """The process is about to end: nothing is opened any more."""
        self._opened = False  # the WebSocket was open: a failure is not the network's
        self._told_to_wait = False  # by the server, with Retry-After
        self._error = ""  # what the service said before it closed
        self._text = ""  # what the user says, by way of the device, as soon as there is a conversation
        self._woken_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether there is a conversation, or one is being opened."""
        return self._state.link in (Link.OPENING, Link.INITIATING, Link.READY)

    def open(self) -> None:
        """Begin a connection, if the link's state allows it."""
        state = self._state
        if state.snapshot.closed and state.link is Link.BACKOFF:
            self.close("closed")
        if self.stopped or state.snapshot.closed or not state.link_signal("open"):
            return
        state.cancel("retry", "closing")
        state.conn += 1
        self._opened, self._error, state.asked = False, "", False
        self._calls.connect()
        self._speaker.connect()
        self._microphone.connect()
        self.recap.connect()
        state.orders.append(c.Connect(state.conn, self._languages.agent_id))

    def pressed(self) -> None:
        """A person wants a conversation: what was wrong is tried again."""
        if self._state.link is Link.BACKOFF:
            self._wake(PRESS_WAKES_S)
        else:
            self._state.change(fault="")
            self.open()
        if self._state.link is Link.DOWN:  # it may not be opened now
            self._activation.over()

    def again(self, reason: str) -> None:
        """A fresh conversation in the place of this one."""
        hands_free = self._activation.hands_free
        self.close(reason)
        self.open()
        self._activation.hands_free = hands_free and self.is_open

    def leave(self, reason: str) -> None:
        """End at the boundary of a turn. What has only lasted long enough is renewed if somebody is there."""
        if reason == RENEWED and self._user_waits:
            self.again(reason)
        else:
            self.close(reason)

    def spoken_to(self) -> None:
        """Somebody speaks during a wait. A server that drops us is not tried at every word."""
        if self._state.link is Link.BACKOFF and not self._opened and not self._told_to_wait:
            self._wake(SPEECH_WAKES_S)

    def network_up(self) -> None:
        """An address is there: what failed for want of one is tried at once.

        Not what a person must mend, nor where a server that was reached told us to wait.
        """
        again = not (self._opened or self._told_to_wait or self._state.snapshot.fault)
        if self._state.link is Link.BACKOFF and again:
            self._wake(PRESS_WAKES_S)

    def say(self, text: str) -> None:
        """Let the user say `text`, now or as soon as the conversation that is being opened has begun."""
        self._text = text
        if self._state.link is Link.READY:
            self._say()

    def inform(self, text: str) -> None:
        """Tell the agent a fact in passing; without a conversation there is nobody to tell."""
        if self._state.link is Link.READY:
            self._state.orders.append(c.Send(self._state.conn, m.ContextualUpdate(text)))

    def close(self, reason: str) -> None:
        """End the conversation from here."""
        if self._state.link_signal("close") and self._state.link is Link.CLOSING:
            self._state.orders.append(c.Disconnect(self._state.conn, reason=reason))
            self._state.after("closing", CLOSING_S)
        self._over(flush=True)

    # ------------------------------------------------------------------------------- what the link says
    def link_opened(self, event: e.LinkOpened) -> None:
        """Initiation data leaves at once."""
        if event.conn == self._state.conn and self._state.link_signal("opened"):
            self._opened = True
            self.retry.opened(self._state.now)
            agent = self._languages.agent
            if self.recap.due and agent.continue_silently:
                agent = replace(agent, first_message="")
            self._state.orders.append(c.Send(event.conn, initiation(agent)))

    def metadata(self, _: m.Metadata) -> None:
        """The conversation begins."""
        if self._state.link_signal("metadata"):
            self._state.change(fault="", advice="", lost="")
            self._state.after("good", GOOD_CONVERSATION_S)
            self._state.turn_signal("ready")
            self._state.watch_idle()
            self._microphone.release()
            recap = self.recap.take()
            if recap is not None:
                self._state.orders.append(c.Send(self._state.conn, recap))
            if self._text:
                self._say()

    def queue_status(self, status: m.QueueStatus) -> None:
        """The service makes us wait for a free place, or no longer."""
        self._state.change(queued=status.status == "waiting")
        self._state.watch_idle()
        self._microphone.release()

    def server_error(self, error: m.ServerError) -> None:
        """What it says may explain the end that follows."""
        self._error = " ".join(filter(None, (error.error_type, error.message)))

    def link_ended(self, event: e.LinkEnded) -> None:
        """Normal, or a loss: then it is tried again where that makes sense."""
        state = self._state
        if event.conn != state.conn or state.link in (Link.DOWN, Link.BACKOFF):
            return
        verdict = classify(event.end, self._error)
        self._told_to_wait = event.end.retry_after is not None
        setup = event.end.kind is Kind.SETUP
        self._sounds.cause("setup" if setup or event.end.kind is Kind.CONFIG else verdict.group)
        state.cancel("closing")
        if verdict.normal or state.link is Link.CLOSING:
            self.retry.reset()
            state.link_signal("ended")
            state.change(lost="")
            self._over(flush=event.end.kind is Kind.LOCAL)
            return
        state.change(lost=event.end.words)
        wrong = verdict.fatal or verdict.group == "security"
        state.change(fault=verdict.advice if wrong else "", advice="" if wrong else verdict.advice, setup=setup)
        delay = self.retry.delay(verdict, event.end.retry_after, self._user_waits, self._opened, state.now)
        again = self._activation.always_on or (self._user_waits and not verdict.fatal)
        self._lost(delay if again else None)

    def idle(self) -> None:
        """So long without speech from either side."""
        state = self._state
        if self._activation.held or self._speaker.sounding or state.snapshot.queued:
            state.watch_idle()
        elif state.link is Link.READY or (state.link is Link.BACKOFF and not self._activation.always_on):
            self.close("idle")  # an attempt that goes on has deadlines of its own

    # ------------------------------------------------------------------------------- inside
    @property
    def _user_waits(self) -> bool:
        here = self._activation.held or self._speaker.sounding
        return here or self._state.now - self._state.active_at < USER_WAITS_S

    def _say(self) -> None:
        text, self._text = self._text, ""
        self._state.asked = True
        self._state.orders.append(c.Send(self._state.conn, m.UserMessage(text)))
        self._microphone.user_done()

    def _wake(self, every_s: float) -> None:
        """Cut a wait short, but not as often as somebody presses."""
        if self._state.now - self._woken_at >= every_s:
            self._woken_at = self._state.now
            self._state.change(fault="")
            self.open()

    def _lost(self, delay: float | None) -> None:
        """The conversation, or the attempt at one, failed: try again after `delay`, if that makes sense."""
        if delay is None:
            self._state.link_signal("ended")
            self._over(flush=True)
            return
        self._state.link_signal("lost")
        if self._opened:
            self.recap.lost()
        self._state.after("retry", delay)
        if "idle" not in self._state.timers:  # the first attempt failed: from now on the user's patience counts
            self._state.watch_idle()
        self._disconnect(flush=True)

    def _over(self, flush: bool) -> None:
        """No conversation any more. Without `flush` the farewell in hand is played to its end."""
        self._state.cancel("retry", "idle")
        self._text = ""
        self.recap.over()
        self._state.change(advice="")
        self._activation.over()
        self._microphone.disconnect()
        self._disconnect(flush)

    def _disconnect(self, flush: bool) -> None:
        self._state.cancel(*OF_A_CONNECTION)
        self._state.change(queued=False)
        self._speaker.disconnect()
        if flush:
            self._speaker.flush()
        if flush or not self._speaker.sounding:
            self._state.turn_signal("over")
