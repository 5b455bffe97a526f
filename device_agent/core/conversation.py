"""The heart: facts in, orders out. Two coupled tables (link × turn), timers as data; no audio, clock or I/O.

Joint rules, each written once:
- a *lost* link ends the turn and silences the agent; a normal end lets the farewell sound (`_lost`, `_over`);
- nothing of the microphone goes out before the metadata, nor while the service makes us wait: it is kept
  (`_may_send`);
- the microphone is open while a conversation is, and where always-on waits for speech; muted means closed;
  the loudspeaker stays open until the last sample has sounded (`_use_devices`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from device_agent.config.schema import Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.activation import Activation, Wish
from device_agent.core.button import Button, Press, Release
from device_agent.core.ending import Kind, Verdict, classify
from device_agent.core.gate import FRAME_MS, Gate
from device_agent.core.indicator import Snapshot
from device_agent.core.initiation import initiation
from device_agent.core.reply import Reply
from device_agent.core.retry import GOOD_CONVERSATION_S, Retry
from device_agent.core.tables import LINK, TURN, Link, Turn
from device_agent.core.uplink import Uplink
from device_agent.protocol import messages as m

REPLY_HOLD_S = 0.5  # a reply whose end was not announced is over after this much silence
THINKING_S = 15.0
FAREWELL_S = 15.0
HANG_UP_S = 1.0
CLOSING_S = 2.0
WAKE_S = 2.0  # a press or speech may cut a wait short, this often at most
LATE_S = 0.04  # a microphone frame this late is replaced by silence
USER_WAITS_S = 30.0  # after this long without a sign of the user a lost conversation is not taken up again
END_CALL = "end_call"


class Conversation:
    """`handle(event, now)` takes one fact and returns orders. Give it `Tick()` when `next_deadline()` comes.

    `rng` returns floats in [0, 1); with the same draws the same log of events gives the same orders.
    """

    def __init__(self, settings: Settings, rng: Callable[[], float]) -> None:
        self._settings = settings
        self._state = Snapshot()
        self._conn = 0
        self._error = ""
        self._tools: dict[str, bool] = {}
        self._activation = Activation(settings.activation.modes, settings.panel.hold_ms / 1000)
        self._button = Button(settings.panel.debounce_ms / 1000)
        self._gate = Gate(settings.gate)
        self._uplink = Uplink()
        self._reply = Reply()
        self._retry = Retry(rng)
        self._half_duplex = settings.audio.echo != "off"
        self._sounding = self._ending = self._stopped = self._yielded = False
        self._deaf_until = self._woken_at = self._active_at = float("-inf")
        self._microphone = self._loudspeaker = False
        self._shown: c.Indicator | None = None
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
        for name in sorted((n for n, at in self._timers.items() if at <= now), key=self._timers.__getitem__):
            if self._timers.pop(name, None) is not None:  # an earlier one may have cancelled it
                self._timer(name)
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        self._use_devices()
        self._show()
        return self._out

    # ------------------------------------------------------------------------------- microphone
    def _frame(self, frame: e.Frame) -> None:
        deaf = self._state.muted or self._deaf
        changed = self._gate.frame(frame.speech and not deaf)
        if changed is True:
            self._speech_began(frame.seq)
        elif changed is False:
            self._speech_ended()
        if self._state.link in (Link.DOWN, Link.CLOSING):
            return
        heard = not deaf and self._activation.talking and (self._gate_passes or self._activation.held)
        self._uplink.add(frame.seq if heard else None, live=self._may_send)
        self._release_uplink()

    @property
    def _deaf(self) -> bool:
        """Half-duplex: the microphone hears the agent, so it is not listened to (unless a press took the turn)."""
        return self._half_duplex and not self._yielded and (self._sounding or self._now < self._deaf_until)

    @property
    def _gate_passes(self) -> bool:
        return self._settings.gate.uplink == "open" or self._gate.open

    @property
    def _may_send(self) -> bool:
        return self._state.link is Link.READY and not self._state.queued

    def _release_uplink(self) -> None:
        if self._may_send:
            self._out += self._uplink.release(self._conn)
            self._timers["late"] = self._now + self._settings.audio.period_ms / 1000 + LATE_S

    def _late(self) -> None:
        """No frame came: the server still hears time go by."""
        if self._may_send:
            self._out.append(self._uplink.borrow(self._conn))
            self._timers["late"] = self._now + FRAME_MS / 1000

    def _speech_began(self, seq: int) -> None:
        self._active()
        first = max(0, seq - self._settings.gate.preroll_ms // FRAME_MS)
        if self._state.link is Link.DOWN and self._activation.always_on and not self._state.fault:
            self._activation.opened_by_itself()
            self._open()
            for kept in range(first, seq):
                self._uplink.add(kept)
        elif self._state.link is Link.BACKOFF and not self._state.fault:
            self._wake()
        elif self._state.link is Link.READY:
            self._signal_turn("user speaks")
            if self._settings.gate.uplink == "silence" and self._activation.talking:
                self._uplink.add_burst(first, seq - 1)

    def _speech_ended(self) -> None:
        self._active()
        if self._state.link is Link.READY and self._activation.talking:
            self._user_done()

    def _user_done(self) -> None:
        self._signal_turn("user done")
        self._timers["think"] = self._now + THINKING_S

    # ------------------------------------------------------------------------------- loudspeaker
    def _agent_audio(self, audio: e.AgentAudio) -> None:
        current = audio.conn == self._conn and self._state.link is Link.READY and not self._state.loudspeaker
        if not current or not self._reply.wanted(audio.event_id, audio.is_final):
            self._out.append(c.Discard(audio.handle))
            return
        self._out.append(c.Play(audio.handle))
        self._cancel("think")
        if audio.ms > 0:
            self._sounding, self._yielded = True, False
            self._cancel("hold")
        elif not self._sounding:
            self._reply_done()

    def _playback_started(self, _: e.PlaybackStarted) -> None:
        # The idle event of a flushed reply may come after the next one was queued: so this counts as well.
        self._sounding = True
        self._active()
        if self._state.link is Link.READY:
            self._signal_turn("reply")

    def _playback_idle(self, idle: e.PlaybackIdle) -> None:
        self._sounding = False
        self._deaf_until = max(self._now, idle.t) + self._settings.audio.tail_ms / 1000
        self._active()
        if self._ending:
            self._close("end_call")
        elif self._state.link is not Link.READY:
            self._farewell_over()
        elif self._state.turn is Turn.SPEAKING:
            if self._reply.final:
                self._reply_done()
            else:
                self._timers["hold"] = self._now + REPLY_HOLD_S

    def _reply_done(self) -> None:
        self._cancel("hold")
        self._signal_turn("reply done")

    def _farewell_over(self) -> None:
        self._cancel("farewell")
        self._flush()
        self._signal_turn("over")

    def _flush(self) -> None:
        if self._sounding:
            self._out.append(c.Flush())

    def _interrupted(self, event_id: int | None) -> None:
        self._reply.interrupted(event_id, self._sounding)
        self._flush()
        self._cancel("hold")
        self._signal_turn("interrupted")

    # ------------------------------------------------------------------------------- button and mute
    def _edge(self, edge: e.Edge) -> None:
        self._gesture(self._button.edge(edge.pressed, edge.t))

    def _gesture(self, gesture: Press | Release | None) -> None:
        settles = self._button.next_deadline()
        if settles is not None:
            self._timers["button"] = settles
        if isinstance(gesture, Press):
            self._active()
            is_open = self._state.link not in (Link.DOWN, Link.CLOSING, Link.BACKOFF)
            self._grant(self._activation.pressed(is_open, self._sounding and is_open))
        elif isinstance(gesture, Release):
            self._active()
            self._grant(self._activation.released(gesture.held))

    def _grant(self, wish: Wish) -> None:
        if wish is Wish.OPEN:
            self._open() if self._state.link is not Link.BACKOFF else self._wake()
        elif wish is Wish.CLOSE:
            self._close("button")
        elif wish is Wish.TURN_OVER:
            self._user_done()
        elif wish is Wish.INTERRUPT:
            self._yielded = True
            self._reply.stopped()
            self._interrupted(None)

    def _mute(self, switch: e.MuteSwitch) -> None:
        self._state = replace(self._state, muted=switch.muted)
        self._out.append(c.SetMute(switch.muted))
        if switch.muted:
            self._out.append(c.WipeCapture())
            self._uplink.clear()
            self._gate.reset()

    # ------------------------------------------------------------------------------- link
    def _start(self, _: e.Start) -> None:
        if self._activation.always_on:
            self._activation.opened_by_itself()
            self._open()

    def _stop(self, _: e.Stop) -> None:
        self._stopped = True
        self._close("stop")

    def _open(self) -> None:
        if self._stopped or not self._signal_link("open"):
            return
        self._flush()  # the farewell of the one before
        for timer in ("retry", "farewell"):
            self._cancel(timer)
        self._conn += 1
        self._error, self._tools, self._reply = "", {}, Reply()
        self._out.append(c.Connect(self._conn))
        self._active()

    def _wake(self) -> None:
        """Cut a wait short, but not as often as somebody presses."""
        if self._now - self._woken_at >= WAKE_S:
            self._woken_at = self._now
            self._open()

    def _opened(self, event: e.LinkOpened) -> None:
        if event.conn == self._conn and self._signal_link("opened"):
            self._out.append(c.Send(self._conn, initiation(self._settings.agent)))

    def _metadata(self, _: m.Metadata) -> None:
        if self._signal_link("metadata"):
            self._state = replace(self._state, fault="")
            self._timers["good"] = self._now + GOOD_CONVERSATION_S
            self._signal_turn("ready")
            self._active()
            self._release_uplink()

    def _queue_status(self, status: m.QueueStatus) -> None:
        self._state = replace(self._state, queued=status.status == "waiting")
        self._release_uplink()

    def _close(self, reason: str) -> None:
        """End the conversation from here."""
        if self._state.link in (Link.OPENING, Link.INITIATING, Link.READY):
            self._out.append(c.Disconnect(self._conn, reason=reason))
            self._timers["closing"] = self._now + CLOSING_S
        self._signal_link("close")
        self._over(flush=True)

    def _closed(self) -> None:
        """The link did not say in time that it closed."""
        self._signal_link("ended")

    def _ended(self, event: e.LinkEnded) -> None:
        if event.conn != self._conn or self._state.link in (Link.DOWN, Link.BACKOFF):
            return
        end = event.end if event.end.reason else replace(event.end, reason=self._error)
        verdict = classify(end)
        self._cancel("closing")
        if verdict.normal or self._state.link is Link.CLOSING:
            self._retry.reset()
            self._signal_link("ended")
            self._over(flush=end.kind is Kind.LOCAL)
        else:
            self._lost(verdict, end.retry_after)

    def _lost(self, verdict: Verdict, retry_after: float | None) -> None:
        """The conversation, or the attempt at one, failed: try again where somebody waits for it."""
        self._flush()
        self._end_turn()
        user_waits = self._activation.held or self._now - self._active_at < USER_WAITS_S
        delay = self._retry.delay(verdict, retry_after, user_waits)
        if verdict.fatal or verdict.group == "security":
            self._state = replace(self._state, fault=verdict.advice)
        again = self._activation.always_on or (user_waits and not verdict.fatal)
        if delay is None or not again:
            self._signal_link("ended")
            self._over(flush=True)
        else:
            self._signal_link("lost")
            self._timers["retry"] = self._now + delay

    def _over(self, flush: bool) -> None:
        """No conversation any more. Without `flush` the farewell in hand is played to its end."""
        self._activation.over()
        self._uplink.clear()
        self._ending = False
        self._cancel("retry")
        self._cancel("idle")
        if flush or not self._sounding:
            self._flush()
            self._end_turn()
        else:
            self._timers["farewell"] = self._now + FAREWELL_S

    def _end_turn(self) -> None:
        self._state = replace(self._state, queued=False)
        for timer in [name for name in self._timers if name in CONNECTION_TIMERS or name.startswith("mcp:")]:
            self._cancel(timer)
        self._signal_turn("over")

    # ------------------------------------------------------------------------------- messages and tools
    def _said(self, event: e.ServerSaid) -> None:
        handler = MESSAGES.get(type(event.message))
        if handler is not None and event.conn == self._conn and self._state.link in (Link.INITIATING, Link.READY):
            handler(self, event.message)

    def _transcript(self, _: m.UserTranscript) -> None:
        self._active()
        self._user_done()

    def _complete(self, _: m.AgentResponseComplete) -> None:
        self._reply.final = True
        if "hold" in self._timers:
            self._reply_done()

    def _server_error(self, error: m.ServerError) -> None:
        self._error = " ".join(filter(None, (error.error_type, error.message)))

    def _tool_call(self, call: m.ClientToolCall) -> None:
        if call.tool_call_id not in self._tools:
            self._tools[call.tool_call_id] = call.expects_response
            self._out.append(c.RunTool(self._conn, call.tool_call_id, call.tool_name, call.parameters))

    def _tool_done(self, done: e.ToolDone) -> None:
        if done.conn == self._conn and self._state.link is Link.READY and self._tools.get(done.tool_call_id):
            result = m.ClientToolResult(done.tool_call_id, done.result, done.is_error, done.error_type)
            self._out.append(c.Send(self._conn, result))

    def _tool_response(self, response: m.AgentToolResponse) -> None:
        if response.tool_name == END_CALL:
            self._ending = True
            self._timers["hang up"] = self._now + (FAREWELL_S if self._sounding else HANG_UP_S)

    def _mcp_call(self, call: m.McpToolCall) -> None:
        timer = f"mcp:{call.tool_call_id}"
        if call.state == "awaiting_approval":
            self._timers[timer] = self._now + call.approval_timeout_s
        else:
            self._cancel(timer)

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
            self._sounding = False
            self._reply_done()

    def _use_devices(self) -> None:
        is_open = self._state.link not in (Link.DOWN, Link.CLOSING)
        microphone = (is_open or self._activation.always_on) and not self._state.muted and not self._stopped
        loudspeaker = is_open or self._sounding
        if microphone != self._microphone:
            self._microphone = microphone
            self._out.append(c.UseMicrophone(microphone))
        if loudspeaker != self._loudspeaker:
            self._loudspeaker = loudspeaker
            self._out.append(c.UseLoudspeaker(loudspeaker))

    def _show(self) -> None:
        indicator = self._state.indicator
        if indicator is not self._shown:
            self._shown = indicator
            self._out.append(c.Show(indicator))

    # ------------------------------------------------------------------------------- state and time
    def _signal_link(self, signal: str) -> bool:
        link = LINK.get((self._state.link, signal))
        if link is not None:
            self._state = replace(self._state, link=link)
        return link is not None

    def _signal_turn(self, signal: str) -> None:
        turn = TURN.get((self._state.turn, signal))
        if turn is not None:
            self._state = replace(self._state, turn=turn)

    def _active(self) -> None:
        """The user, or the agent's voice, was there just now."""
        self._active_at = self._now
        if self._settings.session.idle_close_s and self._state.link is not Link.DOWN:
            self._timers["idle"] = self._now + self._settings.session.idle_close_s

    def _idle(self) -> None:
        if self._gate.open or self._sounding or self._activation.held:
            self._active()
        elif not (self._activation.always_on and self._state.link is Link.BACKOFF):
            self._close("idle")

    def _cancel(self, timer: str) -> None:
        self._timers.pop(timer, None)

    def _timer(self, name: str) -> None:
        if name.startswith("mcp:"):
            self._out.append(c.Send(self._conn, m.McpToolApprovalResult(name[4:], is_approved=False)))
        else:
            TIMERS[name](self)


CONNECTION_TIMERS = ("think", "hold", "late", "good", "hang up")

TIMERS: dict[str, Callable[[Conversation], None]] = {
    "button": lambda self: self._gesture(self._button.tick(self._now)),
    "closing": Conversation._closed,
    "farewell": Conversation._farewell_over,
    "good": lambda self: self._retry.reset(),
    "hang up": lambda self: self._close("end_call"),
    "hold": Conversation._reply_done,
    "idle": Conversation._idle,
    "late": Conversation._late,
    "retry": Conversation._open,
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
    e.LinkOpened: Conversation._opened,
    e.LinkEnded: Conversation._ended,
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
    m.ClientToolCall: Conversation._tool_call,
    m.AgentToolResponse: Conversation._tool_response,
    m.McpToolCall: Conversation._mcp_call,
}
