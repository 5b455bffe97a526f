"""Those who watch the core at work and decide nothing: the log and the live timeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.indicator import Snapshot
from device_agent.protocol import messages as m

log = logging.getLogger("device_agent")


KINDS = 100  # of skipped messages, beyond which nothing new is said
TYPE_CHARACTERS = 64
FIELDS = tuple(field.name for field in fields(Snapshot))
QUIET = ("turn", "today_s", "month_s", "lost")  # a hundred lines of a long conversation, or said already
WRONG = ("fault", "advice", "microphone", "loudspeaker", "unheard_s")


class LogObserver:
    """Stable event names with key=value pairs; transitions are logged here and nowhere else.

    Words of a conversation are replaced by their length unless `transcripts` is set. What happens at every turn is said
    at level debug, so that a conversation of any length is less than 30 lines.
    """

    def __init__(self, transcripts: bool) -> None:
        self.transcripts(transcripts)
        self._turns = 0
        self._last = Snapshot()
        self._skipped_kinds: set[tuple[str, str]] = set()

    def transcripts(self, wanted: bool) -> None:
        """Whether words are written from now on; any thread."""
        self._transcripts = wanted
        self._level = logging.INFO if wanted else logging.DEBUG

    def __call__(self, now: float, event: e.Event, commands: Sequence[c.Command], snapshot: Snapshot) -> None:
        if snapshot is not self._last:
            self._changes(snapshot)
            self._last = snapshot
        say = SAY.get(type(event))
        if say is not None:
            say(self, event)

    def _changes(self, new: Snapshot) -> None:
        for name in FIELDS:
            before, after = getattr(self._last, name), getattr(new, name)
            if before != after:
                level = logging.WARNING if name in WRONG and after else logging.INFO
                level = logging.DEBUG if name in QUIET else level
                log.log(level, f"state.{name} from=%s to=%s", _plain(before), _plain(after))

    def _words(self, text: str) -> str:
        return repr(text) if self._transcripts else f"<{len(text)} characters>"

    def _ended(self, event: e.LinkEnded) -> None:
        end, turns, self._turns = event.end, self._turns, 0
        what = event.conn, end.kind.value, end.code, end.reason, turns
        log.info("link.ended conn=%d kind=%s code=%d reason=%r turns=%d", *what)

    def _skipped(self, event: e.WireSkipped) -> None:
        kind = event.reason, event.type[:TYPE_CHARACTERS]
        # Once each, and not without end: a broken server must fill neither the log nor the memory.
        if kind not in self._skipped_kinds and len(self._skipped_kinds) < KINDS:
            self._skipped_kinds.add(kind)
            log.warning("wire.skipped reason=%s type=%s", *kind)

    def _said(self, event: e.ServerSaid) -> None:
        message = event.message
        if isinstance(message, m.Unknown):
            self._skipped(e.WireSkipped(event.conn, "unknown_type", message.type))
        elif isinstance(message, m.Metadata):
            log.info(
                "conversation.ready id=%s output=%s input=%s",
                message.conversation_id,
                message.agent_output_audio_format,
                message.user_input_audio_format,
            )
        elif isinstance(message, m.UserTranscript):
            self._turns += 1
            log.log(self._level, "conversation.user text=%s", self._words(message.text))
        elif isinstance(message, m.AgentResponse):
            log.log(self._level, "conversation.agent text=%s", self._words(message.text))

    def _device(self, event: e.DeviceUp) -> None:
        what = event.device, event.name, event.rate, event.channels
        log.info("device.up device=%s name=%r rate=%d channels=%d", *what)

    def _echo(self, event: e.Echo) -> None:
        loss = "unknown" if event.loss_db is None else f"{event.loss_db:.1f}"
        log.log(logging.WARNING if event.failing else logging.INFO, "echo.means means=%s loss_db=%s", event.means, loss)

    def _played(self, event: e.Played) -> None:
        log.debug("reply.played id=%s ms=%.0f complete=%s", event.event_id, event.ms, event.complete)

    def _chirp(self, event: e.ChirpSearched) -> None:
        log.info("self-check.done heard=%s silent=%s", event.heard, event.silent)

    def _dropped(self, event: e.UplinkDropped) -> None:
        log.warning("uplink.dropped frames=%d", event.frames)

    def _panel(self, event: e.PanelDown) -> None:
        log.warning("panel.down reason=%r", event.reason)

    def _tool(self, event: e.ToolDone) -> None:
        log.log(
            logging.WARNING if event.is_error else logging.DEBUG,
            "tool.done id=%s error=%s",
            event.tool_call_id,
            event.is_error,
        )


SAY: dict[type, Callable[..., None]] = {
    e.LinkEnded: LogObserver._ended,
    e.WireSkipped: LogObserver._skipped,
    e.ServerSaid: LogObserver._said,
    e.DeviceUp: LogObserver._device,
    e.Echo: LogObserver._echo,
    e.Played: LogObserver._played,
    e.ChirpSearched: LogObserver._chirp,
    e.UplinkDropped: LogObserver._dropped,
    e.PanelDown: LogObserver._panel,
    e.ToolDone: LogObserver._tool,
}


def _plain(value: object) -> str:
    text = getattr(value, "value", value)
    return repr(text) if isinstance(text, str) and (" " in text or not text) else str(text)


class Timeline:
    """A live account for a person: what was said, when, with latencies and levels. `write` takes one line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._start: float | None = None
        self._connect_at = self._quiet_at = self._interrupted_at = self._speech_at = 0.0
        self._peak = -100.0
        self._last = Snapshot()

    def __call__(self, now: float, event: e.Event, commands: Sequence[c.Command], snapshot: Snapshot) -> None:
        if self._start is None:
            self._start = now
        if isinstance(event, e.Frame):
            self._frame(event)
        for command in commands:
            if isinstance(command, c.Connect):
                self._connect_at = now
                self._line(now, "connecting")
            elif isinstance(command, c.RunTool):
                self._line(now, f"tool call     {command.name}({_arguments(command.parameters)})")
            elif isinstance(command, c.Show):
                self._line(now, f"light         {command.indicator.value}")
        text = self._describe(now, event)
        if text:
            self._line(now, text)
        if snapshot is not self._last:
            self._changes(now, snapshot)
            self._last = snapshot

    def _changes(self, now: float, new: Snapshot) -> None:
        for name in ("fault", "advice"):
            text = getattr(new, name)
            if text and text != getattr(self._last, name):
                self._line(now, f"{name:13} {text}")
        if new.unheard_s > self._last.unheard_s:
            self._line(now, f"unheard       {new.unheard_s} s of what was said while connecting: it took too long")

    def _frame(self, frame: e.Frame) -> None:
        if frame.speech:
            self._speech_at = frame.t
            self._peak = max(self._peak, frame.level)

    def _describe(self, now: float, event: e.Event) -> str:
        if isinstance(event, e.ServerSaid):
            return self._message(now, event.message)
        if isinstance(event, e.PlaybackStarted):
            since = f", {(event.t - self._speech_at) * 1000:.0f} ms after the last speech" if self._speech_at else ""
            return f"agent audible (reply {event.event_id}{since})"
        if isinstance(event, e.Played):
            how = "to its end" if event.complete else "until it was cut"
            return f"played        {event.ms / 1000:.2f} s of reply {event.event_id}, {how}"
        if isinstance(event, e.PlaybackIdle) and self._interrupted_at:
            text = f"silent        {(event.t - self._interrupted_at) * 1000:.0f} ms after the interruption"
            self._interrupted_at = 0.0
            return text
        if isinstance(event, e.ToolDone):
            return f"tool result   {event.result}{' (error)' if event.is_error else ''}"
        if isinstance(event, e.DeviceUp):
            return f"{event.device}: {event.card}"
        if isinstance(event, e.DeviceDown):
            return f"no {event.device}: {event.reason}"
        if isinstance(event, e.LinkEnded):
            return f"link ended    {event.end.kind.value} {event.end.code or ''} {event.end.reason}".rstrip()
        return ""

    def _message(self, now: float, message: m.ServerMessage) -> str:
        if isinstance(message, m.Metadata):
            formats = f"hears {message.user_input_audio_format}, speaks {message.agent_output_audio_format}"
            return f"connected     after {(now - self._connect_at) * 1000:.0f} ms; the agent {formats}"
        if isinstance(message, m.UserTranscript):
            level, self._peak = self._peak, -100.0
            return f"user          “{message.text}” (peak {level:.0f} dBFS)"
        if isinstance(message, m.AgentResponse):
            return f"agent         “{message.text}”"
        if isinstance(message, m.AgentResponseCorrection):
            return f"correction    “{message.corrected}”"
        if isinstance(message, m.Interruption):
            self._interrupted_at = now
            return "interruption"
        return ""

    def _line(self, now: float, text: str) -> None:
        assert self._start is not None
        self._write(f"{now - self._start:7.3f} s  {text}")


def _arguments(parameters: object) -> str:
    items = parameters.items() if isinstance(parameters, dict) else ()
    return ", ".join(f"{key}={value!r}" for key, value in items)
