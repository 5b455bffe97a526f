"""The heart: facts in, orders out. Two coupled tables (link × turn), timers as data; no audio, clock or I/O.

Joint rules, each written once:
- a *lost* link ends the turn and silences the agent; a normal end lets the farewell sound (`_lost`, `_over`);
- nothing of the microphone goes out before the metadata, nor while the service makes us wait: it is kept
  (`_may_send`);
- where the microphone hears the loudspeaker it is not listened to while the agent is audible, unless a person
  presses (`_deaf`);
- the microphone is open while a conversation is, and where always-on waits for speech; muted means closed;
  the loudspeaker stays open until the last sample has sounded (`_stand`).

What goes on inside the microphone's, the loudspeaker's and the tools' side is in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from device_agent.config.schema import Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.activation import Activation, Wish
from device_agent.core.button import Button, Press, Release
from device_agent.core.calls import Calls
from device_agent.core.ending import Kind, classify
from device_agent.core.indicator import Snapshot
from device_agent.core.initiation import initiation
from device_agent.core.microphone import Microphone
from device_agent.core.retry import GOOD_CONVERSATION_S, Retry
from device_agent.core.speaker import Speaker
from device_agent.core.tables import LINK, TURN, Link, Turn
from device_agent.protocol import messages as m

REPLY_HOLD_S = 0.5  # a reply whose end was not announced is over after this much silence
THINKING_S = 15.0
FAREWELL_S = 30.0  # after it hung up the agent may speak for so long
HANG_UP_S = 1.0
CLOSING_S = 2.0
PRESS_WAKES_S = 2.0  # a press may cut a wait short, this often at most
SPEECH_WAKES_S = 10.0
LATE_S = 0.04  # a microphone frame this late is replaced by silence
FRAME_S = 0.02
USER_WAITS_S = 30.0  # after this long without a sign of the user a lost conversation is not taken up again
END_CALL = "end_call"
NEVER = float("-inf")


class Conversation:
    """`handle(event, now)` takes one fact and returns orders. Give it `Tick()` when `next_deadline()` comes.

    `rng` returns floats in [0, 1); with the same draws the same log of events gives the same orders.
    """

    def __init__(self, settings: Settings, rng: Callable[[], float]) -> None:
        self._settings = settings
        self._state = Snapshot()
        self._activation = Activation(settings.activation.modes, settings.panel.hold_ms / 1000)
        self._button = Button(settings.panel.debounce_ms / 1000)
        self._microphone = Microphone(settings.gate)
        self._speaker = Speaker(settings.audio.tail_ms / 1000)
        self._calls = Calls()
        self._retry = Retry(rng)
        self._half_duplex = settings.audio.echo != "off"
        self._conn = 0
        self._opened = self._stopped = False
        self._error = ""  # what the service said before it closed
        self._hang_up_by: float | None = None  # the agent has ended the call: its farewell is over by then
        self._woken_at = self._active_at = NEVER
        self._standing: tuple[bool, bool, c.Indicator | None] = (False, False, None)
        self._timers: dict[str, float] = {}
        self._out: list[c.Command] = []
        self._now = 0.0

    @property
    def snapshot(self) -> Snapshot:
        """What a person may see of it."""
        return self._state

    def next_deadline(self) -> float | None:
        """When the next timer is due (monotonic seconds); None if nothing is waited for."""
        return min(self._timers.values(), default=None)

    def handle(self, event: e.Event, now: float) -> list[c.Command]:
        """Take one fact that happened until `now`; timers that were due before it come first."""
        self._now, self._out = now, []
        kind = type(event)
        # A dispatcher that is late finds both the timer due and the fact that it was waiting for: the fact counts.
        self._timers.pop(AWAITED.get(kind, ""), None)
        for at, name in sorted((at, name) for name, at in self._timers.items() if at <= now):
            if self._timers.get(name) == at:  # an earlier one may have cancelled or moved it
                del self._timers[name]
                TIMERS[name](self)
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
        self._stand()
        return self._out

    # ------------------------------------------------------------------------------- microphone
    def _frame(self, frame: e.Frame) -> None:
        change = self._microphone.hear(frame, self._deaf)
        if change is True:
            self._speech_began(frame.seq)
        elif change is False and self._activation.talking:
            self._active()
            self._user_done()
        link = self._state.link
        if link is Link.DOWN or link is Link.CLOSING:
            return
        # A wait between two attempts, or for a free place, may be long: only speech is worth keeping then.
        long_wait = link is Link.BACKOFF or self._state.queued
        every = self._activation.held or (self._settings.gate.uplink == "open" and not long_wait)
        self._microphone.keep(frame, self._activation.talking, every, live=self._may_send)
        self._release_uplink()

    @property
    def _deaf(self) -> bool:
        hears_itself = self._half_duplex and not self._activation.held
        return self._state.muted or (hears_itself and self._speaker.echoes(self._now))

    @property
    def _may_send(self) -> bool:
        return self._state.link is Link.READY and not self._state.queued

    def _release_uplink(self) -> None:
        if self._may_send:
            self._out += self._microphone.release(self._conn)
            self._timers["late"] = self._now + self._settings.audio.period_ms / 1000 + LATE_S

    def _late(self) -> None:
        if self._may_send:
            self._microphone.late(self._now)
            self._release_uplink()
            self._timers["late"] = self._now + FRAME_S

    def _speech_began(self, seq: int) -> None:
        link = self._state.link
        if link in (Link.DOWN, Link.CLOSING):
            if self._activation.always_on and not self._state.fault:
                self._active()
                self._activation.opened_by_itself()
                self._open()
                self._microphone.preroll(seq, extra=False)
        elif self._activation.talking:
            self._active()
            self._microphone.preroll(seq, extra=True)
            if link is Link.BACKOFF and not self._opened:  # a server that drops us is not tried at every word
                self._wake(SPEECH_WAKES_S)
            self._signal_turn("user speaks")

    def _user_done(self) -> None:
        if self._signal_turn("user done"):
            self._timers["think"] = self._now + THINKING_S

    # ------------------------------------------------------------------------------- loudspeaker
    def _agent_audio(self, audio: e.AgentAudio) -> None:
        if audio.conn != self._conn or self._state.link is not Link.READY or self._state.loudspeaker:
            self._out.append(c.Discard(audio.handle))
            return
        order = self._speaker.judge(audio, self._now)
        self._out.append(order)
        if isinstance(order, c.Discard):
            return
        self._cancel("think")
        if audio.ms > 0:
            self._cancel("hold")
            self._timers["silent"] = self._speaker.overdue_at
            if self._hang_up_by is not None:
                self._timers["hang up"] = max(self._now, self._hang_up_by)
        elif not self._speaker.sounding:
            self._reply_done()

    def _playback_started(self, event: e.PlaybackStarted) -> None:
        wanted = self._speaker.started(event.event_id, event.t)
        self._timers["silent"] = max(self._now, self._speaker.overdue_at)
        self._active()
        if wanted and self._state.link is Link.READY:
            self._signal_turn("reply")

    def _playback_idle(self, idle: e.PlaybackIdle) -> None:
        if self._speaker.idle(idle.t, self._now):
            self._fell_silent()
        else:
            self._timers["silent"] = max(self._now, self._speaker.overdue_at)

    def _fell_silent(self) -> None:
        self._cancel("silent")
        self._active()
        if self._state.link is not Link.READY:
            self._farewell_over()
        elif self._speaker.reply.final:
            self._reply_done()
        elif self._state.turn is Turn.SPEAKING or self._hang_up_by is not None:
            self._timers["hold"] = self._now + REPLY_HOLD_S

    def _reply_done(self) -> None:
        self._cancel("hold")
        self._signal_turn("reply done")
        if self._hang_up_by is not None:
            self._close("end_call")

    def _farewell_over(self) -> None:
        self._flush()
        self._signal_turn("over")

    def _flush(self) -> None:
        self._out += self._speaker.flush()

    def _interrupted(self, event_id: int | None) -> None:
        self._speaker.reply.interrupted(event_id)
        self._flush()
        self._cancel("hold")
        self._signal_turn("interrupted")
        if not self._speaker.sounding:  # it had not begun: no other fact will say that it is over
            self._reply_done()

    def _overdue(self) -> None:
        """Playback did not say that the agent is silent, long after it must be: believe the clock."""
        self._out += self._speaker.lost()
        self._fell_silent()

    # ------------------------------------------------------------------------------- button and mute
    def _edge(self, edge: e.Edge) -> None:
        self._gestures(self._button.edge(edge.pressed, edge.t))

    def _gestures(self, gestures: list[Press | Release]) -> None:
        settles = self._button.next_deadline()
        if settles is not None:
            self._timers["button"] = max(self._now, settles)
        for gesture in gestures:
            self._active()
            if isinstance(gesture, Press):
                is_open = self._state.link in (Link.OPENING, Link.INITIATING, Link.READY)
                self._grant(self._activation.pressed(is_open, is_open and self._speaker.sounding))
            else:
                self._grant(self._activation.released(gesture.held))

    def _grant(self, wish: Wish) -> None:
        if wish is Wish.OPEN and self._state.link is Link.BACKOFF:
            self._wake(PRESS_WAKES_S)
        elif wish is Wish.OPEN:
            self._state = replace(self._state, fault="")
            self._open()
        elif wish is Wish.CLOSE:
            self._close("button")
        elif wish is Wish.TURN_OVER:
            self._user_done()
        elif wish is Wish.INTERRUPT:
            self._speaker.stopped()
            self._interrupted(None)

    def _mute(self, switch: e.MuteSwitch) -> None:
        self._state = replace(self._state, muted=switch.muted)
        self._out.append(c.SetMute(switch.muted))
        if switch.muted:
            self._out.append(c.WipeCapture())
            self._microphone.mute()

    # ------------------------------------------------------------------------------- link
    def _start(self, _: e.Start) -> None:
        if self._activation.always_on:
            self._active()
            self._activation.opened_by_itself()
            self._open()

    def _stop(self, _: e.Stop) -> None:
        self._stopped = True
        self._close("stop")

    def _open(self) -> None:
        if self._stopped or not self._signal_link("open"):
            return
        self._flush()  # the farewell of the one before
        self._cancel("retry", "closing")
        self._conn += 1
        self._opened, self._error, self._hang_up_by = False, "", None
        self._calls = Calls(self._conn)
        self._speaker.connect()
        self._microphone.connect()
        self._out.append(c.Connect(self._conn))

    def _wake(self, every_s: float) -> None:
        """Cut a wait short, but not as often as somebody presses."""
        if self._now - self._woken_at >= every_s:
            self._woken_at = self._now
            self._state = replace(self._state, fault="")
            self._open()

    def _link_opened(self, event: e.LinkOpened) -> None:
        if event.conn == self._conn and self._signal_link("opened"):
            self._opened = True
            self._out.append(c.Send(self._conn, initiation(self._settings.agent)))

    def _metadata(self, _: m.Metadata) -> None:
        if self._signal_link("metadata"):
            self._state = replace(self._state, fault="")
            self._timers["good"] = self._now + GOOD_CONVERSATION_S
            self._signal_turn("ready")
            self._watch_idle()
            self._release_uplink()

    def _queue_status(self, status: m.QueueStatus) -> None:
        self._state = replace(self._state, queued=status.status == "waiting")
        self._watch_idle()
        self._release_uplink()

    def _close(self, reason: str) -> None:
        """End the conversation from here."""
        if self._signal_link("close") and self._state.link is Link.CLOSING:
            self._out.append(c.Disconnect(self._conn, reason=reason))
            self._timers["closing"] = self._now + CLOSING_S
        self._over(flush=True)

    def _link_ended(self, event: e.LinkEnded) -> None:
        if event.conn != self._conn or self._state.link in (Link.DOWN, Link.BACKOFF):
            return
        verdict = classify(event.end, self._error)
        self._cancel("closing")
        if verdict.normal or self._state.link is Link.CLOSING:
            self._retry.reset()
            self._signal_link("ended")
            self._over(flush=event.end.kind is Kind.LOCAL)
            return
        fault = verdict.advice if verdict.fatal or verdict.group == "security" else ""
        self._state = replace(self._state, fault=fault)
        user_waits = self._user_waits
        delay = self._retry.delay(verdict, event.end.retry_after, user_waits, self._opened)
        again = self._activation.always_on or (user_waits and not verdict.fatal)
        self._lost(delay if again else None)

    @property
    def _user_waits(self) -> bool:
        here = self._activation.held or self._microphone.speech or self._speaker.sounding
        return here or self._now - self._active_at < USER_WAITS_S

    def _lost(self, delay: float | None) -> None:
        """The conversation, or the attempt at one, failed: try again after `delay`, if that makes sense."""
        if delay is None:
            self._signal_link("ended")
            self._over(flush=True)
            return
        self._signal_link("lost")
        self._timers["retry"] = self._now + delay
        self._end_connection()
        self._flush()
        self._signal_turn("over")

    def _over(self, flush: bool) -> None:
        """No conversation any more. Without `flush` the farewell in hand is played to its end."""
        self._activation.over()
        self._microphone.forget()
        self._cancel("retry", "idle")
        self._end_connection()
        if flush or not self._speaker.sounding:
            self._farewell_over()

    def _end_connection(self) -> None:
        self._hang_up_by = None
        self._state = replace(self._state, queued=False)
        self._cancel(*OF_A_CONNECTION)

    # ------------------------------------------------------------------------------- messages and tools
    def _said(self, event: e.ServerSaid) -> None:
        handler = MESSAGES.get(type(event.message))
        if handler is not None and event.conn == self._conn and self._state.link in (Link.INITIATING, Link.READY):
            handler(self, event.message)

    def _transcript(self, _: m.UserTranscript) -> None:
        self._active()
        self._user_done()

    def _complete(self, complete: m.AgentResponseComplete) -> None:
        if complete.event_id in (None, self._speaker.reply.event_id):
            self._speaker.reply.final = True
            if "hold" in self._timers:
                self._reply_done()

    def _server_error(self, error: m.ServerError) -> None:
        self._error = " ".join(filter(None, (error.error_type, error.message)))

    def _tool_done(self, done: e.ToolDone) -> None:
        if self._state.link is Link.READY:
            self._out += self._calls.done(done)

    def _tool_response(self, response: m.AgentToolResponse) -> None:
        if response.tool_name == END_CALL and response.is_called and not response.is_error:
            self._hang_up_by = self._now + FAREWELL_S
            self._timers["hang up"] = self._now + (FAREWELL_S if self._speaker.sounding else HANG_UP_S)

    def _mcp_call(self, call: m.McpToolCall) -> None:
        self._out += self._calls.approval(call, self._now)
        self._watch_approvals()

    def _refuse(self) -> None:
        self._out += self._calls.refuse(self._now)
        self._watch_approvals()

    def _watch_approvals(self) -> None:
        self._cancel("approval")
        at = self._calls.next_deadline()
        if at is not None:
            self._timers["approval"] = at

    # ------------------------------------------------------------------------------- devices
    def _device_up(self, up: e.DeviceUp) -> None:
        if up.device == "microphone":
            self._state = replace(self._state, microphone="")
        else:
            self._state = replace(self._state, loudspeaker="")
            if self._settings.audio.echo == "auto":
                self._half_duplex = up.half_duplex

    def _device_down(self, down: e.DeviceDown) -> None:
        if down.device == "microphone":
            self._state = replace(self._state, microphone=down.reason)
        else:
            self._state = replace(self._state, loudspeaker=down.reason)
            self._out += self._speaker.lost()
            self._speaker.reply.final = True  # whatever is missing of it will not be played
            self._fell_silent()

    def _stand(self) -> None:
        """Orders that hold until the next of their kind are given when they change."""
        state = self._state
        is_open = state.link in (Link.OPENING, Link.INITIATING, Link.READY)
        listens = is_open or state.link is Link.BACKOFF or self._activation.always_on
        microphone = listens and not (state.muted or state.fault or self._stopped)
        standing = (microphone, is_open or self._speaker.sounding, state.indicator)
        if standing == self._standing:
            return
        before, self._standing = self._standing, standing
        for order, old, new in zip((c.UseMicrophone, c.UseLoudspeaker, c.Show), before, standing, strict=True):
            if old != new:
                self._out.append(order(new))

    # ------------------------------------------------------------------------------- state and time
    def _signal_link(self, signal: str) -> bool:
        link = LINK.get((self._state.link, signal))
        if link is not None:
            self._state = replace(self._state, link=link)
        return link is not None

    def _signal_turn(self, signal: str) -> bool:
        turn = TURN.get((self._state.turn, signal))
        if turn is not None:
            self._state = replace(self._state, turn=turn)
        return turn is not None

    def _active(self) -> None:
        """The user, or the agent's voice, was there just now."""
        self._active_at = self._now
        self._watch_idle()

    def _watch_idle(self) -> None:
        if self._settings.session.idle_close_s and self._state.link in (Link.INITIATING, Link.READY, Link.BACKOFF):
            self._timers["idle"] = self._now + self._settings.session.idle_close_s

    def _idle(self) -> None:
        talks = self._activation.held or (self._microphone.speech and self._activation.talking)
        if talks or self._speaker.sounding or self._state.queued:
            self._watch_idle()
        elif not (self._activation.always_on and self._state.link is Link.BACKOFF):
            self._close("idle")

    def _cancel(self, *timers: str) -> None:
        for timer in timers:
            self._timers.pop(timer, None)


AWAITED: dict[type, str] = {e.Frame: "late", e.Edge: "button", e.PlaybackIdle: "silent"}
OF_A_CONNECTION = ("think", "hold", "late", "good", "hang up", "approval")

TIMERS: dict[str, Callable[[Conversation], Any]] = {
    "approval": Conversation._refuse,
    "button": lambda self: self._gestures(self._button.tick(self._now)),
    "closing": lambda self: self._signal_link("ended"),
    "good": lambda self: self._retry.reset(),
    "hang up": lambda self: self._close("end_call"),
    "hold": Conversation._reply_done,
    "idle": Conversation._idle,
    "late": Conversation._late,
    "retry": Conversation._open,
    "silent": Conversation._overdue,
    "think": lambda self: self._signal_turn("no reply"),
}

HANDLERS: dict[type, Callable[..., None]] = {
    e.Frame: Conversation._frame,
    e.DeviceUp: Conversation._device_up,
    e.DeviceDown: Conversation._device_down,
    e.PlaybackStarted: Conversation._playback_started,
    e.PlaybackIdle: Conversation._playback_idle,
    e.Edge: Conversation._edge,
    e.MuteSwitch: Conversation._mute,
    e.LinkOpened: Conversation._link_opened,
    e.LinkEnded: Conversation._link_ended,
    e.ServerSaid: Conversation._said,
    e.AgentAudio: Conversation._agent_audio,
    e.ToolDone: Conversation._tool_done,
    e.Start: Conversation._start,
    e.Stop: Conversation._stop,
}

MESSAGES: dict[type, Callable[..., None]] = {
    m.Metadata: Conversation._metadata,
    m.QueueStatus: Conversation._queue_status,
    m.UserTranscript: Conversation._transcript,
    m.AgentResponseComplete: Conversation._complete,
    m.Interruption: lambda self, said: self._interrupted(said.event_id),
    m.ServerError: Conversation._server_error,
    m.ClientToolCall: lambda self, call: self._out.extend(self._calls.run(call)),
    m.AgentToolResponse: Conversation._tool_response,
    m.McpToolCall: Conversation._mcp_call,
}
