"""The heart: facts in, orders out. Two coupled tables (link × turn), timers as data; no audio, clock or I/O.

Joint rules, each written once:
- a *lost* link ends the turn and silences the agent; a normal end lets the farewell sound (`_lost`, `_over`);
- the microphone is open while a conversation is, and where always-on waits for speech; muted means closed;
  the loudspeaker stays open until the last sample has sounded (`_use_devices`).

What goes on inside the microphone's, the loudspeaker's and the tools' side is in rooms of their own; they meet in
`State`, where the tables' state, the timers and the orders lie.
"""

from __future__ import annotations

from collections.abc import Callable
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
from device_agent.core.sounds import Sounds
from device_agent.core.speaker import Speaker
from device_agent.core.state import OF_A_CONNECTION, State
from device_agent.core.tables import Link
from device_agent.core.volume import Volume
from device_agent.protocol import messages as m

THINKING_S = 15.0
CLOSING_S = 2.0
PRESS_WAKES_S = 2.0  # a press may cut a wait short, this often at most
SPEECH_WAKES_S = 10.0
USER_WAITS_S = 30.0  # after this long without a sign of the user a lost conversation is not taken up again


class Conversation:
    """`handle(event, now)` takes one fact and returns orders. Give it `Tick()` when `next_deadline()` comes.

    `rng` returns floats in [0, 1); with the same draws the same log of events gives the same orders.
    """

    def __init__(self, settings: Settings, rng: Callable[[], float]) -> None:
        self._settings = settings
        self._state = State(settings.session.idle_close_s)
        self._activation = Activation(settings.activation.modes, settings.panel.hold_ms / 1000)
        self._button = Button(settings.panel.debounce_ms / 1000)
        self._speaker = Speaker(self._state, settings.audio.tail_ms / 1000, self._close)
        self._microphone = Microphone(settings, self._state, self._activation, self._speaker)
        self._calls = Calls(self._state)
        self._volume = Volume(settings.audio, self._state)
        self._sounds = Sounds(settings, self._state, self._speaker)
        self._retry = Retry(rng)
        self._opened = self._stopped = False
        self._error = ""  # what the service said before it closed
        self._woken_at = float("-inf")

    @property
    def snapshot(self) -> Snapshot:
        """What a person may see of it."""
        return self._state.snapshot

    def next_deadline(self) -> float | None:
        """When the next timer is due (monotonic seconds); None if nothing is waited for."""
        return min(self._state.timers.values(), default=None)

    def handle(self, event: e.Event, now: float) -> list[c.Command]:
        """Take one fact that happened until `now`; timers that were due before it come first."""
        state, kind = self._state, type(event)
        state.now, state.orders = now, []
        # A dispatcher that is late finds both the timer due and the fact that it was waiting for: the fact counts.
        state.cancel(AWAITED.get(kind, ""))
        if min(state.timers.values(), default=now + 1) <= now:
            self._run_timers(now)
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
        if not self._stopped:
            self._sounds.look()
        self._use_devices()
        return state.orders

    def _run_timers(self, now: float) -> None:
        timers = self._state.timers
        for at, name in sorted((at, name) for name, at in timers.items() if at <= now):
            if timers.get(name) == at:  # an earlier one may have cancelled or moved it
                del timers[name]
                TIMERS[name](self)

    # ------------------------------------------------------------------------------- the user speaks
    def _frame(self, frame: e.Frame) -> None:
        change = self._microphone.hear(frame)
        if change is True:
            self._speech_began(frame.seq)
        elif change is False and self._activation.talking:
            self._state.active()
            self._user_done()
        if self._state.link is not Link.DOWN and self._state.link is not Link.CLOSING:
            self._microphone.keep(frame)

    def _speech_began(self, seq: int) -> None:
        state = self._state
        if state.link in (Link.DOWN, Link.CLOSING):
            if self._activation.always_on and not state.snapshot.fault:
                self._start(None)
                self._microphone.preroll(seq, extra=False)
        elif self._activation.talking:
            state.active()
            self._microphone.preroll(seq, extra=True)
            if state.link is Link.BACKOFF and not self._opened:  # a server that drops us is not tried at every word
                self._wake(SPEECH_WAKES_S)
            state.turn_signal("user speaks")

    def _user_done(self) -> None:
        if self._state.turn_signal("user done"):
            self._state.after("think", THINKING_S)

    # ------------------------------------------------------------------------------- a person presses or mutes
    def _edge(self, edge: e.Edge) -> None:
        self._gestures(self._button.edge(edge.pressed, edge.t))

    def _gestures(self, gestures: list[Press | Release]) -> None:
        settles = self._button.next_deadline()
        if settles is not None:
            self._state.after("button", settles - self._state.now)
        for gesture in gestures:
            self._state.active()
            if isinstance(gesture, Press):
                self._sounds.pressed()
                is_open = self._is_open
                self._grant(self._activation.pressed(is_open, is_open and self._speaker.sounding))
            else:
                self._grant(self._activation.released(gesture.held))

    def _grant(self, wish: Wish) -> None:
        if wish is Wish.OPEN and self._state.link is Link.BACKOFF:
            self._wake(PRESS_WAKES_S)
        elif wish is Wish.OPEN:
            self._state.change(fault="")
            self._open()
        elif wish is Wish.CLOSE:
            self._close("button")
        elif wish is Wish.TURN_OVER:
            self._user_done()
        elif wish is Wish.INTERRUPT:
            self._speaker.stopped()

    def _mute(self, switch: e.MuteSwitch) -> None:
        self._state.change(muted=switch.muted)
        self._state.orders.append(c.SetMute(switch.muted))
        if switch.muted:
            self._state.orders.append(c.WipeCapture())
            self._microphone.mute()

    def _set_volume(self, wish: e.Volume) -> None:
        self._volume.wish(wish)
        self._sounds.turned()

    # ------------------------------------------------------------------------------- link
    def _start(self, _: e.Start | None) -> None:
        if self._activation.always_on:
            self._state.active()
            self._activation.opened_by_itself()
            self._open()

    def _stop(self, _: e.Stop) -> None:
        self._stopped = True
        self._sounds.over()
        self._close("stop")

    @property
    def _is_open(self) -> bool:
        return self._state.link in (Link.OPENING, Link.INITIATING, Link.READY)

    def _open(self) -> None:
        state = self._state
        if self._stopped or not state.link_signal("open"):
            return
        state.cancel("retry", "closing")
        state.conn += 1
        self._opened, self._error = False, ""
        self._calls.connect()
        self._speaker.connect()
        self._microphone.connect()
        state.orders.append(c.Connect(state.conn))

    def _wake(self, every_s: float) -> None:
        """Cut a wait short, but not as often as somebody presses."""
        if self._state.now - self._woken_at >= every_s:
            self._woken_at = self._state.now
            self._state.change(fault="")
            self._open()

    def _link_opened(self, event: e.LinkOpened) -> None:
        if event.conn == self._state.conn and self._state.link_signal("opened"):
            self._opened = True
            self._state.orders.append(c.Send(event.conn, initiation(self._settings.agent)))

    def _metadata(self, _: m.Metadata) -> None:
        if self._state.link_signal("metadata"):
            self._state.change(fault="")
            self._state.after("good", GOOD_CONVERSATION_S)
            self._state.turn_signal("ready")
            self._state.watch_idle()
            self._microphone.release()

    def _queue_status(self, status: m.QueueStatus) -> None:
        self._state.change(queued=status.status == "waiting")
        self._state.watch_idle()
        self._microphone.release()

    def _close(self, reason: str) -> None:
        """End the conversation from here."""
        if self._state.link_signal("close") and self._state.link is Link.CLOSING:
            self._state.orders.append(c.Disconnect(self._state.conn, reason=reason))
            self._state.after("closing", CLOSING_S)
        self._over(flush=True)

    def _link_ended(self, event: e.LinkEnded) -> None:
        state = self._state
        if event.conn != state.conn or state.link in (Link.DOWN, Link.BACKOFF):
            return
        verdict = classify(event.end, self._error)
        self._sounds.cause(verdict.group)
        state.cancel("closing")
        if verdict.normal or state.link is Link.CLOSING:
            self._retry.reset()
            state.link_signal("ended")
            self._over(flush=event.end.kind is Kind.LOCAL)
            return
        state.change(fault=verdict.advice if verdict.fatal or verdict.group == "security" else "")
        delay = self._retry.delay(verdict, event.end.retry_after, self._user_waits, self._opened)
        again = self._activation.always_on or (self._user_waits and not verdict.fatal)
        self._lost(delay if again else None)

    @property
    def _user_waits(self) -> bool:
        here = self._activation.held or self._microphone.speech or self._speaker.sounding
        return here or self._state.now - self._state.active_at < USER_WAITS_S

    def _lost(self, delay: float | None) -> None:
        """The conversation, or the attempt at one, failed: try again after `delay`, if that makes sense."""
        if delay is None:
            self._state.link_signal("ended")
            self._over(flush=True)
            return
        self._state.link_signal("lost")
        self._state.after("retry", delay)
        if "idle" not in self._state.timers:  # the first attempt failed: from now on the user's patience counts
            self._state.watch_idle()
        self._disconnect(flush=True)

    def _over(self, flush: bool) -> None:
        """No conversation any more. Without `flush` the farewell in hand is played to its end."""
        self._state.cancel("retry", "idle")
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

    def _idle(self) -> None:
        state = self._state
        talks = self._activation.held or (self._microphone.speech and self._activation.talking)
        if talks or self._speaker.sounding or state.snapshot.queued:
            state.watch_idle()
        elif state.link is Link.READY or (state.link is Link.BACKOFF and not self._activation.always_on):
            self._close("idle")  # an attempt that goes on has deadlines of its own

    # ------------------------------------------------------------------------------- messages
    def _said(self, event: e.ServerSaid) -> None:
        handler = MESSAGES.get(type(event.message))
        current = event.conn == self._state.conn and self._state.link in (Link.INITIATING, Link.READY)
        if handler is not None and current:
            handler(self, event.message)

    def _transcript(self, _: m.UserTranscript) -> None:
        self._state.active()
        self._user_done()

    def _server_error(self, error: m.ServerError) -> None:
        self._error = " ".join(filter(None, (error.error_type, error.message)))

    # ------------------------------------------------------------------------------- devices
    def _device_up(self, up: e.DeviceUp) -> None:
        self._state.change(**{up.device: ""})
        if up.device == "loudspeaker" and self._settings.audio.echo == "auto":
            self._microphone.half_duplex = up.half_duplex

    def _device_down(self, down: e.DeviceDown) -> None:
        self._state.change(**{down.device: down.reason})
        if down.device == "loudspeaker":
            self._speaker.lost()

    def _use_devices(self) -> None:
        state, seen = self._state, self._state.snapshot
        is_open = self._is_open
        listens = is_open or state.link is Link.BACKOFF or self._activation.always_on
        microphone = listens and not (seen.muted or seen.fault or self._stopped)
        live = state.link is not Link.DOWN or not microphone
        state.stand(microphone, live, is_open or self._speaker.sounding or state.clip)


AWAITED: dict[type, str] = {e.Frame: "late", e.Edge: "button", e.PlaybackIdle: "silent"}

TIMERS: dict[str, Callable[[Conversation], Any]] = {
    "approval": lambda self: self._calls.refuse(),
    "button": lambda self: self._gestures(self._button.tick(self._state.now)),
    "clip": lambda self: self._sounds.over(),
    "closing": lambda self: self._state.link_signal("ended"),
    "good": lambda self: self._retry.reset(),
    "hang up": lambda self: self._close("end_call"),
    "hold": lambda self: self._speaker.reply_done(),
    "idle": Conversation._idle,
    "late": lambda self: self._microphone.late(),
    "retry": Conversation._open,
    "silent": lambda self: self._speaker.overdue(),
    "think": lambda self: self._state.turn_signal("no reply"),
}

HANDLERS: dict[type, Callable[..., None]] = {
    e.Frame: Conversation._frame,
    e.DeviceUp: Conversation._device_up,
    e.DeviceDown: Conversation._device_down,
    e.PlaybackStarted: lambda self, event: self._speaker.started(event),
    e.PlaybackIdle: lambda self, event: self._speaker.idle(event),
    e.ClipEnded: lambda self, event: self._sounds.ended(event),
    e.Volume: Conversation._set_volume,
    e.Restored: lambda self, event: self._volume.restore(event),
    e.Edge: Conversation._edge,
    e.MuteSwitch: Conversation._mute,
    e.LinkOpened: Conversation._link_opened,
    e.LinkEnded: Conversation._link_ended,
    e.ServerSaid: Conversation._said,
    e.AgentAudio: lambda self, event: self._speaker.agent_audio(event),
    e.ToolDone: lambda self, event: self._calls.done(event),
    e.Start: Conversation._start,
    e.Stop: Conversation._stop,
}

MESSAGES: dict[type, Callable[..., None]] = {
    m.Metadata: Conversation._metadata,
    m.QueueStatus: Conversation._queue_status,
    m.UserTranscript: Conversation._transcript,
    m.AgentResponseComplete: lambda self, said: self._speaker.complete(said),
    m.Interruption: lambda self, said: self._speaker.interrupted(said.event_id),
    m.ServerError: Conversation._server_error,
    m.ClientToolCall: lambda self, call: self._calls.run(call),
    m.AgentToolResponse: lambda self, said: self._speaker.tool_response(said),
    m.McpToolCall: lambda self, call: self._calls.approval(call),
}
