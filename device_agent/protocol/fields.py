"""Reading single fields of JSON that a stranger wrote.

A *reader* turns one value into what we want or raises `Refused`. `required` lets that through, so that the
message is skipped; `optional` puts the default in its place, because a ping with a strange `ping_ms` still
wants its pong. Null counts as missing.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Json = Any
Event = Mapping[str, Json]
T = TypeVar("T")
D = TypeVar("D")

MAX_DEPTH = 32
"""How many levels of free JSON (tool parameters, metadata) are handed on."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Refused(Exception):
    """This value cannot be used. `reason` is one of the codec's `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def required(event: Event, read: Callable[[Json], T], *names: str) -> T:
    """The first of `names` that is there. Raises `Refused` if none is, or if it cannot be read."""
    for name in names:
        if event.get(name) is not None:
            return read(event[name])
    raise Refused("missing_field")


def optional(event: Event, read: Callable[[Json], T], name: str, default: D) -> T | D:
    """The field, or `default` if it is missing or cannot be read."""
    value = event.get(name)
    if value is None:
        return default
    try:
        return read(value)
    except Refused:
        return default


def text(value: Json) -> str:
    """A string that can be written as UTF-8: half an emoji, cut off by streaming, becomes a question mark."""
    if not isinstance(value, str):
        raise Refused("wrong_type")
    return value if value.isascii() else value.encode(errors="replace").decode()


def integer(value: Json) -> int:
    """An integer, or a string that spells one. Booleans are not numbers."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise Refused("wrong_type")


def integer_or_text(value: Json) -> int | str:
    """An id that is a number in one source and ``evt_…`` in another."""
    return value if type(value) is int else text(value)


def boolean(value: Json) -> bool:
    """True or false, and no number that could pass for one."""
    if not isinstance(value, bool):
        raise Refused("wrong_type")
    return value


def between(low: float, high: float) -> Callable[[Json], float]:
    """A reader of numbers from `low` to `high`, both included."""

    def read(value: Json) -> float:
        if type(value) not in (int, float):
            raise Refused("wrong_type")
        if not low <= value <= high:
            raise Refused("out_of_range")
        return float(value)

    return read


def list_of(read: Callable[[Json], T]) -> Callable[[Json], tuple[T, ...]]:
    """A reader of lists whose every item `read` accepts."""

    def read_list(value: Json) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Refused("wrong_type")
        return tuple(map(read, value))

    return read_list


def base64_bytes(value: Json) -> bytes:
    """Strict base64: no line ends, no other alphabet, whole padding."""
    if not isinstance(value, str):
        raise Refused("wrong_type")
    if len(value) % 4 or value.endswith("==="):  # excess padding, which `strict_mode` of Python 3.11 lets through
        raise Refused("bad_base64")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as error:
        raise Refused("bad_base64") from error


def mapping(value: Json) -> dict[str, Json]:
    """A JSON object with free contents, at most `MAX_DEPTH` deep, every string as `text` gives it."""
    if not isinstance(value, dict):
        raise Refused("wrong_type")
    return _tidy_mapping(value, MAX_DEPTH)


def _tidy_mapping(value: dict[str, Json], depth: int) -> dict[str, Json]:
    return {text(key): _tidy(item, depth - 1) for key, item in value.items()}


def _tidy(value: Json, depth: int) -> Json:
    if depth < 0:
        raise Refused("too_deep")
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return _tidy_mapping(value, depth)
    if isinstance(value, list):
        return [_tidy(item, depth - 1) for item in value]
    return value
