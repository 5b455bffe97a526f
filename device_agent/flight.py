"""The flight recorder: the last two minutes of facts and states, in memory, written down when something goes wrong.

A dump replays through the pure core (`device-agent bench replay FILE`). It holds no audio, and words of a
conversation only where `log.transcripts` is set; of the settings only those that the core's decisions depend on.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from device_agent.config.render import values
from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.core.indicator import Snapshot
from device_agent.core.recollection import at_rest, recollect
from device_agent.core.replay import line
from device_agent.version import __version__

log = logging.getLogger(__name__)

KEPT_S = 120.0
SEGMENT_S = 60.0
ENTRIES = 12_000  # some 2 MB
AFTERMATH = 100  # silent frames after speech that the gate may still depend on
FILES = 5
APART_S = 10.0  # a fault that repeats itself must not fill the memory with dumps
_FRAME = struct.Struct("<dqddd?")
_SECTIONS = ("activation", "wake", "gate", "audio", "sounds", "session", "panel")
_NO_WORDS = {
    "conversation_id", "agent_output_audio_format", "user_input_audio_format", "reason", "tool_call_id", "tool_name",
    "tool_type", "state", "status", "service_id", "kind", "type", "error_type", "message", "model", "name",
}  # fmt: skip

State = tuple[str, str, bool, str]
"""Link, turn, muted, light."""
Entry = bytes | tuple[float, tuple[float, ...], e.Event, State | None]


def directory(environ: Mapping[str, str]) -> Path | None:
    """Where dumps go: systemd's runtime directory, or the user's; both lie in memory. None if there is neither."""
    if environ.get("RUNTIME_DIRECTORY"):
        return Path(environ["RUNTIME_DIRECTORY"].partition(":")[0])
    return Path(environ["XDG_RUNTIME_DIR"], "device-agent") if environ.get("XDG_RUNTIME_DIR") else None


def state_of(seen: Snapshot) -> State:
    """What a dump and its replay compare."""
    return seen.link.value, seen.turn.value, seen.muted, seen.indicator.value


@dataclass(slots=True)
class _Segment:
    """Facts from a moment of rest on; `past` is None where the beginning had to be given up."""

    past: dict[str, Any] | None
    began: float
    entries: list[Entry] = field(default_factory=list)


class FlightRecorder:
    """An observer of the dispatcher, in whose thread it is called; `dump` is for the main thread.

    A silent frame costs one packed record of some 80 bytes; nothing is formatted before it is dumped.
    """

    def __init__(self, settings: Settings, rng: Callable[[], float], place: Path | None) -> None:
        self._settings = settings
        self.transcripts = settings.log.transcripts
        """Whether a dump may hold words; any thread may change that."""
        self._place = place
        self._rng = rng
        self._draws: list[float] = []
        self._conversation: Conversation | None = None
        self._segments: list[_Segment] = []
        self._last: Snapshot | None = None
        self._dumped_at = float("-inf")

    def conversation(self) -> Conversation:
        """The core whose chance and facts are recorded."""
        self._conversation = Conversation(self._settings, self._draw)
        self._segments = [_Segment(recollect(self._conversation), float("-inf"))]
        return self._conversation

    def _draw(self) -> float:
        self._draws.append(self._rng())
        return self._draws[-1]

    # ------------------------------------------------------------------------------- recording
    def __call__(self, now: float, event: e.Event, commands: object, snapshot: Snapshot) -> None:
        draws, self._draws[:] = tuple(self._draws), ()
        changed = snapshot is not self._last
        self._last = snapshot
        entries = self._segments[-1].entries
        if isinstance(event, e.Frame) and not changed and not draws:
            entries.append(_FRAME.pack(now, event.seq, event.level, event.t, event.next_s, event.speech))
        else:
            entries.append((now, draws, event, state_of(snapshot) if changed else None))
        if now - self._segments[-1].began > SEGMENT_S:
            self._turn_over(now)
        if len(entries) > ENTRIES:
            self._thin(now)

    def _turn_over(self, now: float) -> None:
        """Begin a new segment, where the core is at rest."""
        assert self._conversation is not None
        if not at_rest(self._conversation):
            return
        self._segments.append(_Segment(recollect(self._conversation), now))
        while len(self._segments) > 1 and now - self._segments[1].began > KEPT_S:
            del self._segments[0]

    def _thin(self, now: float) -> None:
        """A long conversation: old frames of silence go, on which hardly anything depends; then the oldest facts."""
        segment = self._segments[-1]
        del self._segments[:-1]
        kept: list[Entry] = []
        quiet = 0
        for entry in segment.entries:
            if type(entry) is bytes:
                at, *_, speech = _FRAME.unpack(entry)
                quiet = 0 if speech else quiet + 1
                if quiet > AFTERMATH and now - at > KEPT_S:
                    continue
            kept.append(entry)
        if len(kept) > 3 * ENTRIES // 4:
            segment.past, kept = None, kept[-ENTRIES // 2 :]
        segment.entries[:] = kept

    # ------------------------------------------------------------------------------- dumping
    def dump(self, reason: str, asked: bool = False) -> Path | None:
        """Write what is known to the runtime directory; the file, or None where it could not be or was not due."""
        now = time.monotonic()
        if self._place is None or (not asked and now - self._dumped_at < APART_S):
            return None
        self._dumped_at = now
        stamp = time.strftime("%Y%m%dT%H%M%S")
        file = self._place / f"flight-{stamp}-{int(now * 1e6) % 1_000_000:06}.jsonl"
        try:
            self._place.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.writelines(f"{text}\n" for text in self._lines(reason))
            # Names tell the wall's time: after a clock was set back those of before look newer than this one.
            before = sorted(found for found in self._place.glob("flight-*.jsonl") if found != file)
            for old in before[: 1 - FILES]:
                old.unlink()
        except OSError as error:  # a full file system must not be a second fault
            log.warning("flight.lost reason=%r error=%r", reason, error)
            return None
        log.info("flight.dumped file=%s reason=%r", file, reason)
        return file

    def _lines(self, reason: str) -> Iterator[str]:
        segments = [(segment, list(segment.entries)) for segment in self._segments]  # copied whole, under the GIL
        first = segments[0][0]
        default, ours = values(Settings()), values(self._settings)
        changed = {n: v for n, v in ours.items() if n.partition(".")[0] in _SECTIONS and v != default[n]}
        yield json.dumps(
            {
                "flight": 1,
                "version": __version__,
                "reason": reason,
                "settings": changed,
                "languages": list(self._settings.agent.languages),
                "past": first.past,
            }
        )
        for _, entries in segments:
            for entry in entries:
                yield self._line(entry)

    def _line(self, entry: Entry) -> str:
        if isinstance(entry, bytes):
            now, seq, level, t, next_s, speech = _FRAME.unpack(entry)
            return line(now, (), e.Frame(seq, speech, level, t, next_s))
        now, draws, event, state = entry
        if not self.transcripts:
            event = without_words(event)
        return line(now, draws, event, **({} if state is None else {"state": state}))


def without_words(event: e.Event) -> e.Event:
    """The same fact, with what was said or written and what tools were told and answered left out; lengths stay."""
    if isinstance(event, e.ToolDone):
        return replace(event, result=_hidden(event.result))
    if isinstance(event, e.Remote):
        action, colon, text = event.action.partition(":")
        return e.Remote(f"{action}{colon}{_hidden(text)}")
    if not isinstance(event, e.ServerSaid):
        return event
    message = event.message
    wordy = {f.name: _hidden(getattr(message, f.name)) for f in fields(message) if f.name not in _NO_WORDS}
    return replace(event, message=replace(message, **wordy))


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return "x" * len(value)
    if isinstance(value, Mapping):
        return {}
    return () if isinstance(value, tuple) else value
