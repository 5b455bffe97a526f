"""Lines of JSON ↔ wishes. Pure: what a line means, or why it means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from device_agent.core import events as e

TEXT_CHARACTERS = 1000

STATUS, SUBSCRIBE, RELOAD = "status", "subscribe", "reload"
NEEDS_CONVERSATION = ("context",)


class BadRequest(Exception):
    """`str()` says what is wrong with the line."""


def parse(line: bytes) -> tuple[str, e.Event | None]:
    """The wish's name, and the fact that it is for the core (None for `status`, `subscribe` and `reload`).

    Raises `BadRequest`.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("not a line of JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise BadRequest('not an object with "do"')
    wish = request.pop("do")
    if wish in (STATUS, SUBSCRIBE, RELOAD):
        _nothing_else(request)
        return wish, None
    make = WISHES.get(wish)
    if make is None:
        raise BadRequest(f"unknown wish {wish[:40]!r}; there are: {', '.join((STATUS, SUBSCRIBE, RELOAD, *WISHES))}")
    event = make(request)
    _nothing_else(request)
    return wish, event


def _nothing_else(request: dict[str, Any]) -> None:
    if request:
        raise BadRequest(f"unknown field {next(iter(request))[:40]!r}")


def _text(request: dict[str, Any]) -> str:
    text = request.pop("text", None)
    if not isinstance(text, str) or not text.strip():
        raise BadRequest('needs a "text"')
    if len(text) > TEXT_CHARACTERS:
        raise BadRequest(f"the text is longer than {TEXT_CHARACTERS} characters")
    return text.strip()


def _mute(request: dict[str, Any]) -> e.Event:
    muted = request.pop("muted", None)
    if muted is not None and not isinstance(muted, bool):
        raise BadRequest('"muted" must be true, false or absent (the other way round)')
    return e.Mute(muted)


def _volume(request: dict[str, Any]) -> e.Event:
    for field, low in (("level", 0), ("change", -100)):
        if field in request:
            value = request.pop(field)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= 100:
                raise BadRequest(f'"{field}" must be a whole number from {low} to 100')
            return e.Volume(level=value) if field == "level" else e.Volume(change=value)
    raise BadRequest('needs a "level" or a "change"')


WISHES: dict[str, Callable[[dict[str, Any]], e.Event]] = {
    "talk": lambda _: e.Remote("talk"),
    "end": lambda _: e.Remote("end"),
    "stop": lambda _: e.Remote("stop"),
    "say": lambda request: e.Remote(f"say:{_text(request)}"),
    "context": lambda request: e.Remote(f"context:{_text(request)}"),
    "mute": _mute,
    "volume": _volume,
    "language": lambda _: e.Remote("language_next"),
    "restart": lambda _: e.Remote("restart"),
}


def answer(**fields: Any) -> bytes:
    """A line that says that it was done."""
    return _line({"ok": True, **fields})


def refusal(error: str) -> bytes:
    """A line that says why not."""
    return _line({"ok": False, "error": error})


def news(kind: str, **fields: Any) -> bytes:
    """A line for subscribers."""
    return _line({"event": kind, **fields})


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
