"""What a core at rest must be told to go on as another one would: the beginning of a log that does not begin at start.

"At rest": no conversation, no turn, no timer, nobody speaks. Then nothing else of the past has any influence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from device_agent.core.conversation import Conversation
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link, Turn


def at_rest(conversation: Conversation) -> bool:
    """Whether `recollect` says all that matters."""
    seen = conversation.snapshot
    silent = seen.turn is Turn.IDLE and not conversation.gate.open
    return seen.link is Link.DOWN and silent and conversation.next_deadline() is None


def recollect(conversation: Conversation) -> dict[str, Any]:
    """What `resume` needs, as plain values."""
    seen = asdict(conversation.snapshot)
    del seen["link"], seen["turn"]
    past = {"conn": conversation.state.conn, "failures": conversation.retry.failures, "seen": seen}
    return past | {"gate": conversation.gate.memory}


def resume(conversation: Conversation, past: Mapping[str, Any]) -> None:
    """Let a new conversation continue where another one was at rest. Raises ValueError for what is no such past."""
    try:
        conversation.state.conn, conversation.retry.failures = int(past["conn"]), int(past["failures"])
        conversation.gate.memory = past["gate"]
        conversation.state.change(**asdict(replace(Snapshot(), **past["seen"])))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not the beginning of a log: {error}") from error
