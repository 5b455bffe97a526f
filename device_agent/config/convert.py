"""From what a file or a command line says to the value that the setting wants.

The error texts never repeat a value: it could be a secret in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_agent.config.options import Option
from device_agent.config.secrets import looks_like_secret

if TYPE_CHECKING:
    from cattrs import BaseConverter

SECRET_REMEDY = (
    "must not stand here, because it looks like a secret: `device-agent setup` stores it in a file of mode 0600, "
    "and server.api_key_file or server.broker_token_file may name another one"
)
_MAX_DEPTH = 16
# For each shape, how people call it and which types TOML delivers for it. `bool` is no number here.
_ACCEPTED: Mapping[type, tuple[str, tuple[type, ...]]] = {
    str: ("text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (float, int)),
    tuple: ("a list of texts", (list, tuple)),
    Mapping: ("a table", (dict,)),
}
_SECRET_KEY = re.compile(r"(.*[-_])?(api[-_]?key|token|password|passwd|secret)", re.IGNORECASE)


def convert(option: Option, raw: Any, base: Path) -> Any:
    """The setting's value; relative paths start at `base`. Raises `ValueError` with what is wrong and allowed."""
    _refuse_unwritable(raw)
    value = _typed(option, raw)
    _check_choices(option, value)
    _check_range(option, value)
    return _resolved(option, value, base) if option.path else value


def holds_secret(name: str, raw: Any) -> bool:
    """Whether a setting of this name or value, however deep, looks like a key, token or password."""
    leaves = [(name.rpartition(".")[2], raw, 0), *_walk(raw)]
    return any(
        isinstance(value, str) and (looks_like_secret(value) or bool(value and _SECRET_KEY.fullmatch(key)))
        for key, value, _ in leaves
    ) or any(looks_like_secret(key) for key, _, _ in leaves)


def from_text(option: Option, text: str) -> Any:
    """What an environment variable or `--set` says, as TOML would; text that fits nothing stays for `convert`."""
    shape = option.shape
    try:
        if shape is str:
            return _toml(text) if text.startswith(('"', "'")) else text
        if shape is bool:
            return {"true": True, "false": False}.get(text, text)
        if shape is tuple and option.single and not text.startswith("["):
            return text
        if shape is tuple and not text.startswith("["):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return shape(text) if shape in (int, float) else _toml(text)
    except (ValueError, RecursionError):
        return text


def _toml(text: str) -> Any:
    import tomllib

    return tomllib.loads(f"value = {text}")["value"]


def _typed(option: Option, raw: Any) -> Any:
    if option.single and isinstance(raw, str):
        return (raw,) if raw else ()
    expected, types = _ACCEPTED[option.shape]
    if type(raw) is option.shape:
        return raw  # needs no conversion, and importing the converter takes a tenth of the time to connect
    try:
        if type(raw) in types:
            return _converter().structure(raw, option.kind)
    except (TypeError, OverflowError):
        pass  # an element of the wrong type, or an integer that no float can hold
    raise ValueError(f"must be {expected}")


@cache
def _converter() -> BaseConverter:
    from cattrs import BaseConverter

    converter = BaseConverter(detailed_validation=False)
    converter.register_structure_hook(str, _strict_text)
    return converter


def _strict_text(value: Any, _: type) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _check_choices(option: Option, value: Any) -> None:
    named = value if isinstance(value, tuple) else (value,)
    if option.choices and not set(named) <= set(option.choices):
        one_of = "one or more of" if option.shape is tuple else "one of"
        raise ValueError(f"must be {one_of}: {', '.join(map(str, option.choices))}")


def _check_range(option: Option, value: Any) -> None:
    if option.range is None:
        return
    low, high = option.range
    if not low <= value <= high:  # written so that NaN fails
        raise ValueError(f"must be from {low} to {high}")


def _refuse_unwritable(raw: Any) -> None:
    """Refuse what later could not be encoded as JSON and UTF-8, or would exhaust the stack there."""
    for key, value, depth in [("", raw, 0), *_walk(raw)]:
        if depth > _MAX_DEPTH:
            raise ValueError(f"must not be nested deeper than {_MAX_DEPTH} tables or lists")
        if isinstance(value, float) and value - value != 0:
            raise ValueError("must be finite")
        if not isinstance(value, (str, bool, int, float, list, tuple, dict)):
            raise ValueError("must not be or hold a date or time: write it as text")
        if not (_is_utf8(key) and (not isinstance(value, str) or _is_utf8(value))):
            raise ValueError("must be UTF-8 text without NUL characters")


def _is_utf8(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _walk(raw: Any) -> Iterator[tuple[str, Any, int]]:
    """Key, value and depth of everything inside `raw`. Iterative: TOML's dotted keys nest without limit."""
    waiting = [(raw, 0)]
    while waiting:
        container, depth = waiting.pop()
        for key, value in _items(container):
            yield key, value, depth + 1
            waiting.append((value, depth + 1))


def _items(container: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(container, dict):
        return container.items()
    return [("", item) for item in container] if isinstance(container, (list, tuple)) else ()


def _resolved(option: Option, value: Any, base: Path) -> Any:
    if option.shape is tuple:
        return tuple(str(base / item) for item in value)
    return str(base / value) if value else ""
