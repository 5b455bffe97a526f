"""What the agent's settings make of the client's first message. Pure."""

from __future__ import annotations

import re
from typing import Any

from device_agent.simulator.options import Options
from device_agent.simulator.validate import first_message_override, overridden

_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def refusal(initiation: dict[str, Any], options: Options) -> str | None:
    """The reason of the 1008 close that this first message earns, if it does."""
    for name in overridden(initiation):
        if name not in options.allow_override:
            return f"Override for field '{name}' is not allowed by config."
    text, given = _text(initiation, options), initiation.get("dynamic_variables") or {}
    if missing := {name for name in _VARIABLE.findall(text) if name not in given}:
        return f"Missing required dynamic variables in first message: {missing}"
    return None


def first_message(initiation: dict[str, Any], options: Options) -> str:
    """The first message with its variables filled in; empty for none. `refusal` has said no before."""
    given = initiation.get("dynamic_variables") or {}
    return _VARIABLE.sub(lambda match: str(given[match[1]]), _text(initiation, options))


def _text(initiation: dict[str, Any], options: Options) -> str:
    override = first_message_override(initiation)
    return options.first_message if override is None else override
