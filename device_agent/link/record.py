"""`run --record-wire FILE`: the shape of the conversation, and nothing of its contents.

One JSON line per message: seconds since the recording began, direction, type, the names of its fields with the
kind and size of each value, and the message's size in bytes. No audio, no text, no ids, no addresses.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from device_agent.runtime.deadline import Clock

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MAX_FIELDS = 200
_MAX_DEPTH = 4
# Objects with keys of somebody's own choosing, which may tell something.
_FREE = frozenset(
    {"parameters", "dynamic_variables", "custom_llm_extra_body", "metadata", "props", "details"}
    | {"asr_initiation_metadata_event", "dtmf_request"}
)


class Recorder:
    """Writes the lines. Owned by the link thread; writing to a slow disk delays the conversation: a tool for tests."""

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._clock = clock
        self._begin = clock()

    def message(self, direction: str, data: bytes | str) -> None:
        """A text message that came (`in`) or goes (`out`)."""
        wire_type, fields = shape(data)
        self.note(direction, wire_type, fields, len(data))

    def note(self, direction: str, wire_type: str, fields: dict[str, str] | None = None, size: int = 0) -> None:
        """Anything else that belongs into the order of events: open, close, a skipped message."""
        t = round(self._clock() - self._begin, 4)
        line = {"t": t, "dir": direction, "type": wire_type, "fields": fields or {}, "bytes": size}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()


def shape(data: bytes | str) -> tuple[str, dict[str, str]]:
    """The type of a message, and for each field (by its dotted name) the kind and size of its value."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return "(not JSON)", {}
    if not isinstance(message, dict):
        return "(not an object)", {}
    wire_type = message.pop("type", "")
    fields: dict[str, str] = {}
    _describe(message, "", _MAX_DEPTH, fields)
    return _name(wire_type) if wire_type else "(no type)", fields


def _describe(item: dict[str, Any], prefix: str, depth: int, fields: dict[str, str]) -> None:
    for key, value in item.items():
        if len(fields) >= _MAX_FIELDS:
            return
        name = prefix + _name(key)
        if isinstance(value, dict) and depth and key not in _FREE:
            _describe(value, name + ".", depth - 1, fields)
        else:
            fields[name] = _kind(value)


def _name(key: Any) -> str:
    return key if isinstance(key, str) and _NAME.fullmatch(key) else "(other)"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return f"string[{len(value)}]"
        case list():
            return f"array[{len(value)}]"
    return f"object[{len(value)}]"
