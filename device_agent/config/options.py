"""The schema as a table: one `Option` for each setting, by its dotted name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from device_agent.config.schema import Settings
from device_agent.records import record


@record
class Option:
    """What the schema says about one setting."""

    name: str
    kind: Any
    """Its type; where `None` means "not set", the type of a value that is."""
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    range: tuple[float, float] | None = None
    path: bool = False
    """It names files: relative ones start at the directory of the file that says so."""
    single: bool = False
    """A list that may also be one text: itself, or nothing if it is empty."""

    @property
    def section(self) -> str:
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        return self.name.partition(".")[2]

    @property
    def shape(self) -> Any:
        """The bare class of the value: `tuple` for `tuple[str, ...]`."""
        return get_origin(self.kind) or self.kind


@cache
def sections() -> Mapping[str, type]:
    """The dataclass of each section, in the schema's order."""
    return get_type_hints(Settings)


@cache
def options() -> Mapping[str, Option]:
    """Every setting by its dotted name, in the schema's order."""
    table = {}
    for section, cls in sections().items():
        hints = get_type_hints(cls)
        for item in fields(cls):
            name = f"{section}.{item.name}"
            table[name] = Option(name, _kind(hints[item.name]), _default(item), **item.metadata)
    return table


def _kind(hint: Any) -> Any:
    members = get_args(hint)
    if NoneType in members:
        return next(member for member in members if member is not NoneType)
    return hint


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
