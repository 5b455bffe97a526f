"""`device-agent bench replay`: a dump of the flight recorder, run through the core once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.render import to_toml
from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.core.recollection import resume
from device_agent.core.replay import Player
from device_agent.errors import ConfigError, UsageError
from device_agent.flight import State, state_of

_NOWHERE = Path("/nonexistent")


def run(file: Path, events: bool, say: Callable[[str], None] = print) -> int:
    """Show the transitions. Exit code 0: the core decided as it did on the device; 1: it did not."""
    try:
        header, *entries = (json.loads(text) for text in file.read_text("utf-8").splitlines())
        player = Player(_settings(header))
        if header["past"] is not None:
            resume(player.conversation, header["past"])
        say(f"version {header['version']}, written because of: {header['reason']}")
        if header["past"] is None:
            say("the beginning of this conversation was given up: what follows may differ from what happened")
        differences = _play(player, entries, events, say)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise UsageError(f"{file} is not a dump of this version's flight recorder: {error}") from error
    say(f"{len(entries)} facts, {differences} differences" if differences else f"{len(entries)} facts, all the same")
    return int(differences > 0 and header["past"] is not None)


def _play(player: Player, entries: list[Any], events: bool, say: Callable[[str], None]) -> int:
    before: State | None = None
    differences = 0
    for entry in entries:
        event, orders = player.play(entry)
        state = state_of(player.conversation.snapshot)
        was = entry.get("state")
        told = events and not isinstance(event, e.Frame)
        if state != before or told:
            names = ", ".join(type(order).__name__ for order in orders)
            say(f"{entry['at'] - entries[0]['at']:8.3f} s  {_words(state)}  {type(event).__name__} → {names or '–'}")
        if was is not None and tuple(was) != state:
            differences += 1
            say(f"            on the device: {_words(tuple(was))}")
        before = state
    return differences


def _words(state: State) -> str:
    link, turn, muted, light = state
    return f"link {link:<10} turn {turn:<9} light {light:<13}{' muted' if muted else ''}"


def _settings(header: dict[str, Any]) -> Settings:
    sets = [f"{name}={to_toml(value)}" for name, value in header["settings"].items()]
    settings = load(Paths(_NOWHERE, _NOWHERE), {}, sets).settings
    languages: dict[str, Any] = {name: {} for name in header["languages"]}
    return replace(settings, agent=replace(settings.agent, languages=languages))
