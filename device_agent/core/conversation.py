"""The heart: facts in, orders out. Two coupled tables (link × turn), timers as data; no audio, clock or I/O.

Joint rules, each written once:
- a *lost* link ends the turn and silences the agent; a normal end lets the farewell sound (`Connection`);
- the microphone is open while a conversation is, and where always-on waits for speech; muted means closed;
  the loudspeaker stays open until the last sample has sounded (`_use_devices`).

What goes on inside the link's, the microphone's, the loudspeaker's and the tools' side is in rooms of their own; they
meet in `State`, where the tables' state, the timers and the orders lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from device_agent.config.buttons import buttons
from device_agent.config.schema import Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.actions import Actions
from device_agent.core.activation import Activation
from device_agent.core.calls import Calls
from device_agent.core.connection import RENEWED, Connection
from device_agent.core.gate import Gate
from device_agent.core.hands import Hands
from device_agent.core.indicator import Snapshot
from device_agent.core.languages import Languages
from device_agent.core.microphone import Microphone
from device_agent.core.mute import Mute
from device_agent.core.retry import Retry
from device_agent.core.self_check import SelfCheck
from device_agent.core.session import Session
from device_agent.core.sounds import Sounds
from device_agent.core.speaker import Speaker
from device_agent.core.state import State
from device_agent.core.tables import Link
from device_agent.core.volume import Volume
from device_agent.protocol import messages as m


class Conversation:
    """`handle(event, now)` takes one fact and returns orders. Give it `Tick()` when `next_deadline()` comes.

    `rng` returns floats in [0, 1); with the same draws the same log of events gives the same orders.
    """

    def __init__(self, settings: Settings, rng: Callable[[], float]) -> None:
        panel = settings.panel
        self._settings = settings
        self._state = State(settings.session.idle_close_s)
        self._activation = Activation(settings.activation.modes, panel.hold_ms / 1000)
        tail_s, one_shot = settings.audio.tail_ms / 1000, self._activation.one_shot
        self._speaker = Speaker(self._state, tail_s, lambda reason: self._connection.close(reason), one_shot)
        self._microphone = Microphone(settings, self._state, self._activation, self._speaker)
        self._calls = Calls(self._state)
        self._volume = Volume(settings.audio, self._state)
        self._sounds = Sounds(settings, self._state, self._speaker)
        self._check = SelfCheck(settings.audio.self_check, self._state, self._sounds)
        self._mute = Mute(self._state, self._microphone)
        languages = Languages(settings.agent, self._state)
        rooms = self._activation, self._microphone, self._speaker, self._calls, self._sounds
        self._connection = Connection(self._state, languages, *rooms, rng)
        self._actions = Actions(
            self._state, self._activation, self._connection, self._microphone, self._speaker, self._sounds,
            self._volume, self._mute, languages, settings.activation.away_s,
        )  # fmt: skip
        self._session = Session(settings.session, self._state, self._activation, self._microphone, self._speaker)
        self._hands = Hands(
            buttons(panel), self._state, panel.debounce_ms / 1000, panel.hold_ms / 1000,
            self._actions.act, self._actions.touched, lambda: self._microphone.speech,
        )  # fmt: skip

    @property
    def state(self) -> State:
        """What the rooms share; for `recollection`."""
        return self._state

    @property
    def retry(self) -> Retry:
        """What counts the failures in a row; for `recollection`."""
        return self._connection.retry

    @property
    def gate(self) -> Gate:
        """What knows the room; for `recollection`."""
        return self._microphone.gate

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
        leave = self._session.look()
        if not self._connection.stopped:
            if leave:
                self._connection.leave(leave)
            elif self._session.reopened() and self._activation.always_on:
                self._open_by_itself()
            self._sounds.look()
        self._check.look()
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
        if self._check.running:  # it listens to itself
            self._check.frame(frame)
            return
        change = self._microphone.hear(frame)
        if change is True:
            self._speech_began(frame.seq)
        elif change is False and self._activation.talking:
            self._microphone.user_done()
        if self._microphone.near and self._activation.talking:
            self._state.active()
        if self._state.link is not Link.DOWN and self._state.link is not Link.CLOSING:
            self._microphone.keep(frame)

    def _speech_began(self, seq: int) -> None:
        state = self._state
        if state.link in (Link.DOWN, Link.CLOSING):
            if self._activation.by_voice and not (state.snapshot.fault or state.snapshot.closed):
                self._open_by_itself()
                self._microphone.preroll(seq, extra=False)
        elif self._activation.talking:
            self._microphone.preroll(seq, extra=True)
            self._connection.spoken_to()
            self._speaker.spoken_over()
            state.turn_signal("user speaks")

    # ------------------------------------------------------------------------------- a person turns
    def _restore(self, kept: e.Restored) -> None:
        self._volume.restore(kept)
        self._session.restored(kept)

    def _set_volume(self, wish: e.Volume) -> None:
        self._volume.wish(wish)
        self._sounds.turned()

    # ------------------------------------------------------------------------------- start and stop
    def _start(self, _: e.Start) -> None:
        self._check.start()
        if self._activation.always_on:
            self._open_by_itself()

    def _open_by_itself(self) -> None:
        self._state.active()
        self._connection.open()
        if self._connection.is_open:
            self._activation.opened_by_itself()

    def _stop(self, _: e.Stop) -> None:
        self._connection.stopped = True
        self._sounds.over()
        self._check.stop()
        self._connection.close("stop")

    # ------------------------------------------------------------------------------- messages
    def _said(self, event: e.ServerSaid) -> None:
        handler = MESSAGES.get(type(event.message))
        current = event.conn == self._state.conn and self._state.link in (Link.INITIATING, Link.READY)
        if handler is not None and current:
            handler(self, event.message)

    def _transcript(self, said: m.UserTranscript) -> None:
        self._connection.recap.user(said)
        self._state.active()
        self._state.asked = True
        self._microphone.user_done()

    def _agent_audio(self, audio: e.AgentAudio) -> None:
        if audio.conn == self._state.conn:
            self._connection.recap.audio(audio)
        self._speaker.agent_audio(audio)

    # ------------------------------------------------------------------------------- devices
    def _device_up(self, up: e.DeviceUp) -> None:
        self._state.change(**{up.device: "", f"{up.device}_card": up.card})
        if up.device == "loudspeaker":
            self._speaker.back()

    def _echo(self, echo: e.Echo) -> None:
        self._microphone.means = echo.means
        loss = "" if echo.loss_db is None else f", {echo.loss_db:.0f} dB"
        self._state.change(echo=f"{echo.means}{loss}{' (the canceller achieves too little)' if echo.failing else ''}")

    def _device_down(self, down: e.DeviceDown) -> None:
        if down.device == "loudspeaker" and not self._state.snapshot.loudspeaker:
            self._speaker.away()
        self._state.change(**{down.device: down.reason})

    def _use_devices(self) -> None:
        state, seen = self._state, self._state.snapshot
        is_open = self._connection.is_open
        listens = is_open or state.link is Link.BACKOFF or (self._activation.listens and not seen.closed)
        words = self._activation.by_wake_word
        microphone = listens and not (seen.muted or (seen.fault and not words) or self._connection.stopped)
        # Where its echo is cancelled, a word may stop the agent as well.
        idle = state.link in (Link.DOWN, Link.CLOSING)
        wake = microphone and words and (idle or self._speaker.sounding) and not self._microphone.hears_itself
        live = state.link is not Link.DOWN or not microphone
        use = c.UseMicrophone(microphone, live, wake)
        if self._check.running:
            use = c.UseMicrophone(True, raw=True)
        untold = bool(seen.fault and seen.loudspeaker)  # it is said as soon as there is a loudspeaker
        state.stand(use, is_open or self._speaker.sounding or state.clip or untold)


AWAITED: dict[type, str] = {e.Frame: "late", e.Edge: "button", e.PlaybackIdle: "silent"}

TIMERS: dict[str, Callable[[Conversation], Any]] = {
    "activity": lambda self: self._session.activity(),
    "approval": lambda self: self._calls.refuse(),
    "away": lambda self: self._actions.away(),
    "button": lambda self: self._hands.tick(),
    "check": lambda self: self._check.due(),
    "clip": lambda self: self._sounds.over(),
    "closing": lambda self: self._state.link_signal("ended"),
    "duck": lambda self: self._speaker.unduck(),
    "gone": lambda self: self._speaker.lost(),
    "good": lambda self: self._connection.retry.reset(),
    "hang up": lambda self: self._connection.close("end_call"),
    "hold": lambda self: self._speaker.reply_done(),
    "idle": lambda self: self._connection.idle(),
    "late": lambda self: self._microphone.late(),
    "leave": lambda self: self._session.overdue(),
    "max": lambda self: self._session.limit(RENEWED),
    "reopen": lambda self: self._session.judge(),
    "repeat": lambda self: self._actions.repeat(),
    "retry": lambda self: self._connection.open(),
    "silent": lambda self: self._speaker.overdue(),
    "spent": lambda self: self._session.spent(),
    "think": lambda self: self._state.turn_signal("no reply"),
}

HANDLERS: dict[type, Callable[..., None]] = {
    e.Frame: Conversation._frame,
    e.DeviceUp: Conversation._device_up,
    e.DeviceDown: Conversation._device_down,
    e.Echo: Conversation._echo,
    e.PlaybackStarted: lambda self, event: self._speaker.started(event),
    e.PlaybackIdle: lambda self, event: self._speaker.idle(event),
    e.ClipEnded: lambda self, event: self._sounds.ended(event),
    e.ChirpSearched: lambda self, event: self._check.found(event),
    e.Volume: Conversation._set_volume,
    e.Restored: Conversation._restore,
    e.SoundsWanted: lambda self, event: self._sounds.want(event),
    e.Calendar: lambda self, event: self._session.calendar(event),
    e.Edge: lambda self, event: self._hands.edge(event),
    e.MuteSwitch: lambda self, event: self._mute.switched(event),
    e.Mute: lambda self, event: self._mute.wished(event),
    e.PanelDown: lambda self, event: self._state.change(panel=event.reason),
    e.PanelUp: lambda self, _: self._state.change(panel=""),
    e.Presence: lambda self, event: self._actions.presence(event),
    e.Remote: lambda self, event: self._actions.remote(event),
    e.WakeWord: lambda self, event: self._actions.wake_word(event),
    e.LinkOpened: lambda self, event: self._connection.link_opened(event),
    e.LinkEnded: lambda self, event: self._connection.link_ended(event),
    e.ServerSaid: Conversation._said,
    e.NetworkUp: lambda self, _: self._connection.network_up(),
    e.AgentAudio: Conversation._agent_audio,
    e.Played: lambda self, event: self._connection.recap.played(event),
    e.ToolDone: lambda self, event: self._calls.done(event),
    e.Start: Conversation._start,
    e.Stop: Conversation._stop,
}

MESSAGES: dict[type, Callable[..., None]] = {
    m.Metadata: lambda self, said: self._connection.metadata(said),
    m.QueueStatus: lambda self, said: self._connection.queue_status(said),
    m.UserTranscript: Conversation._transcript,
    m.AgentResponse: lambda self, said: self._connection.recap.agent(said),
    m.AgentResponseCorrection: lambda self, said: self._connection.recap.corrected(said),
    m.AgentResponseComplete: lambda self, said: self._speaker.complete(said),
    m.Interruption: lambda self, said: self._speaker.interrupted(said.event_id),
    m.ServerError: lambda self, error: self._connection.server_error(error),
    m.ClientToolCall: lambda self, call: self._calls.run(call),
    m.AgentToolResponse: lambda self, said: self._speaker.tool_response(said),
    m.McpToolCall: lambda self, call: self._calls.approval(call),
}
