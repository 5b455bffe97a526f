"""An event log that replays: what happened, without any audio, gives the same orders again (R2).

One JSON object per line: {"at": seconds, "draws": [numbers that chance gave], "event": name, …its fields}. It is a
debugging format between versions of the same program; the classes of the fields are taken from the annotations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

from device_agent.config.schema import Settings
from device_agent.core import commands as c
from device_agent.core import ending
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.protocol import messages as m

CLASSES: dict[str, Any] = {
    kind.__name__: kind for union in (e.Event, m.ServerMessage) for kind in union.__args__
} | {kind.__name__: kind for kind in (ending.End, ending.Kind, m.Alignment)}  # fmt: skip


class Recorder:
    """Stands between the dispatcher and the core: `handle` and `rng` pass through it and are written down."""

    def __init__(self, settings: Settings, rng: Callable[[], float], write: Callable[[str], object]) -> None:
        self._rng = rng
        self._write = write
        self._draws: list[float] = []
        self.conversation = Conversation(settings, self._draw)

    def handle(self, event: e.Event, now: float) -> list[c.Command]:
        """As `Conversation.handle`, one line each."""
        self._draws.clear()
        commands = self.conversation.handle(event, now)
        self._write(line(now, self._draws, event))
        return commands

    def _draw(self) -> float:
        self._draws.append(self._rng())
        return self._draws[-1]


def line(at: float, draws: Sequence[float], event: e.Event, **more: Any) -> str:
    """One line of a log; `more` is kept beside the fact, for whoever reads it."""
    entry = {"at": at, "draws": list(draws), "event": _plain(event)} | more
    return json.dumps(entry, separators=(",", ":"), default=str)


def replay(settings: Settings, lines: Iterable[str]) -> Iterator[tuple[float, e.Event, Sequence[c.Command]]]:
    """What happened and what was ordered, again. Raises ValueError for a line that is not a recorder's."""
    player = Player(settings)
    for text in lines:
        entry = json.loads(text)
        event, orders = player.play(entry)
        yield entry["at"], event, orders


class Player:
    """A conversation that is told the facts of a log, one entry after the other."""

    def __init__(self, settings: Settings) -> None:
        self._draws: list[float] = []
        # A log may lack a draw where it does not begin at the start: chance then gives the middle.
        self.conversation = Conversation(settings, lambda: self._draws.pop(0) if self._draws else 0.5)

    def play(self, entry: Mapping[str, Any]) -> tuple[e.Event, list[c.Command]]:
        """The fact of a line, parsed as JSON, and what is ordered. Raises ValueError for what is not a recorder's."""
        self._draws[:] = entry["draws"]
        event = _object(entry["event"])
        return event, self.conversation.handle(event, entry["at"])


def _plain(value: Any) -> Any:
    """Dataclasses become lists that begin with their name, so that nothing needs a converter to come back."""
    if isinstance(value, Enum):
        return [type(value).__name__, value.value]
    if type(value).__name__ in CLASSES:
        return [type(value).__name__, *(_plain(getattr(value, field.name)) for field in fields(value))]
    if isinstance(value, tuple):
        return ["tuple", *map(_plain, value)]
    return ["=", value] if isinstance(value, list) else value


def _object(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    name, *rest = value
    if name == "=":
        return rest[0]
    if name == "tuple":
        return tuple(map(_object, rest))
    if name not in CLASSES:
        raise ValueError(f"not a recorded class: {name!r}")
    return CLASSES[name](*[_object(item) if type(item) is list else item for item in rest])
