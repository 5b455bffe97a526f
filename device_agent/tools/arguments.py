"""What an agent hands to a tool is hostile input (R12): size limits first, then types, strictly.

cattrs is the converter; it is imported on the first call, so that a device without tools never loads it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from cattrs import Converter

MAX_TEXT = 1024
MAX_TOTAL = 16 * 1024
MAX_DEPTH = 8


class InvalidArguments(ValueError):
    """Parameters that do not fit the tool's signature. `str()` names each fault."""


def check_size(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters with a text over 1 kB, over 16 kB in all, or nested deeper than 8.

    The walk stops at the first fault, so that its cost is bounded whatever was sent.
    """
    total = 0
    pending: list[tuple[Any, int]] = [(parameters, 1)]
    while pending:
        value, depth = pending.pop()
        total += _size(value)
        if total > MAX_TOTAL:
            raise InvalidArguments(f"more than {MAX_TOTAL} bytes of parameters")
        if isinstance(value, (Mapping, list)):
            if depth > MAX_DEPTH:
                raise InvalidArguments(f"nested deeper than {MAX_DEPTH}")
            if len(value) > MAX_TOTAL:
                raise InvalidArguments(f"more than {MAX_TOTAL} bytes of parameters")
            inner = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
            pending.extend((item, depth + 1) for item in inner)


def _size(value: Any) -> int:
    if not isinstance(value, str):
        return 8
    size = len(value) if len(value) > MAX_TEXT else len(value.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT:
        raise InvalidArguments(f"a text of more than {MAX_TEXT} bytes")
    return size


def structure(parameters: Mapping[str, Any], into: type) -> Any:
    """An instance of the dataclass `into`; every unknown, missing or ill-typed member is named in the error."""
    from cattrs import transform_error

    try:
        return _converter().structure(parameters, into)
    except Exception as error:  # cattrs raises groups of whatever its hooks raised
        raise InvalidArguments("; ".join(transform_error(error, path="parameters"))) from error


@cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True)
    for kind in (str, bool, int, float):
        converter.register_structure_hook(kind, _plain)
    converter.register_structure_hook_factory(_is_literal, lambda hint: _one_of)
    converter.register_structure_hook_factory(_is_list, lambda hint: partial(_list, converter))
    converter.register_structure_hook_factory(_is_dataclass, lambda hint: _object(converter, hint))
    return converter


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is list


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _plain(value: Any, kind: type) -> Any:
    """JSON has one kind of number: 3.0 is an integer too, but true is neither 1 nor "true"."""
    if type(value) is kind:
        good = not isinstance(value, float) or math.isfinite(value)
    elif kind is float:
        good = type(value) is int
    else:
        good = kind is int and type(value) is float and value.is_integer()
    if not good:
        raise ValueError(f"expected {kind.__name__}")
    return kind(value)


def _one_of(value: Any, hint: Any) -> Any:
    for choice in get_args(hint):
        if type(choice) is type(value) and choice == value:
            return choice
    raise ValueError(f"expected one of {', '.join(map(repr, get_args(hint)))}")


def _list(converter: Converter, value: Any, hint: Any) -> list[Any]:
    """Only a list: cattrs by itself would take a text for a list of characters."""
    if not isinstance(value, list):
        raise ValueError("expected list")
    (item,) = get_args(hint)
    return [converter.structure(each, item) for each in value]


def _object(converter: Converter, hint: type) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn

    inner: Callable[[Any, Any], Any] = make_dict_structure_fn(hint, converter)

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("expected object")
        return inner(value, kind)

    return hook
