"""A configuration that is read again while the device runs: what holds at once, and what only after a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from device_agent.config.options import options
from device_agent.config.schema import Settings
from device_agent.records import record

LIVE = ("log.level", "log.transcripts", "sounds.earcons", "sounds.speech", "sounds.language")
"""Nothing is open that these belong to: they may change at any moment."""


@record
class Change:
    """`settings` hold now; `live` names what has changed in them, `later` what waits for a restart."""

    settings: Settings
    live: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


Reload = Callable[[], Change]
"""Reads everything again; raises `ConfigError` with every mistake, and changes nothing then."""


def change(held: Settings, wanted: Settings) -> Change:
    """From what holds to what is wanted."""
    different = [name for name in options() if _value(held, name) != _value(wanted, name)]
    live = tuple(name for name in different if name in LIVE)
    merged = held
    for name in live:
        section, key = name.split(".")
        merged = replace(merged, **{section: replace(getattr(merged, section), **{key: _value(wanted, name)})})
    return Change(merged, live, tuple(name for name in different if name not in LIVE))


def _value(settings: Settings, name: str) -> object:
    section, key = name.split(".")
    value: object = getattr(getattr(settings, section), key)
    return dict(value) if isinstance(value, Mapping) else value
