"""The two coupled state machines, as data. The diagram in the README is generated from these tables.

A pair that is not in its table changes nothing: a fact that comes too late is not an error.
"""

from __future__ import annotations

from enum import Enum


class Link(Enum):
    """The connection to the agent."""

    DOWN = "down"
    OPENING = "opening"
    INITIATING = "initiating"
    READY = "ready"
    BACKOFF = "backoff"
    CLOSING = "closing"


class Turn(Enum):
    """Whose turn it is, as the person in front of the device sees it."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


LINK: dict[tuple[Link, str], Link] = {
    (Link.DOWN, "open"): Link.OPENING,
    (Link.OPENING, "opened"): Link.INITIATING,
    (Link.OPENING, "lost"): Link.BACKOFF,
    (Link.OPENING, "ended"): Link.DOWN,
    (Link.OPENING, "close"): Link.CLOSING,
    (Link.INITIATING, "metadata"): Link.READY,
    (Link.INITIATING, "lost"): Link.BACKOFF,
    (Link.INITIATING, "ended"): Link.DOWN,
    (Link.INITIATING, "close"): Link.CLOSING,
    (Link.READY, "lost"): Link.BACKOFF,
    (Link.READY, "ended"): Link.DOWN,
    (Link.READY, "close"): Link.CLOSING,
    (Link.BACKOFF, "open"): Link.OPENING,
    (Link.BACKOFF, "close"): Link.DOWN,
    (Link.CLOSING, "ended"): Link.DOWN,
    (Link.CLOSING, "open"): Link.OPENING,
}

TURN: dict[tuple[Turn, str], Turn] = {
    (Turn.IDLE, "ready"): Turn.LISTENING,
    (Turn.LISTENING, "user done"): Turn.THINKING,
    (Turn.LISTENING, "reply"): Turn.SPEAKING,
    (Turn.THINKING, "reply"): Turn.SPEAKING,
    (Turn.THINKING, "user speaks"): Turn.LISTENING,
    (Turn.THINKING, "no reply"): Turn.LISTENING,
    (Turn.THINKING, "interrupted"): Turn.LISTENING,
    (Turn.SPEAKING, "reply done"): Turn.LISTENING,
    (Turn.SPEAKING, "interrupted"): Turn.LISTENING,
    (Turn.LISTENING, "over"): Turn.IDLE,
    (Turn.THINKING, "over"): Turn.IDLE,
    (Turn.SPEAKING, "over"): Turn.IDLE,
}


def mermaid() -> str:
    """Both machines as one Mermaid diagram."""
    lines = ["stateDiagram-v2"]
    for title, table in (("Link", LINK), ("Turn", TURN)):
        lines.append(f"    state {title} {{")
        first = next(iter(table))[0]
        lines.append(f"        [*] --> {first.name}")
        arrows: dict[tuple[str, str], list[str]] = {}
        for (source, signal), target in table.items():
            arrows.setdefault((source.name, target.name), []).append(signal)
        lines += [f"        {a} --> {b}: {', '.join(signals)}" for (a, b), signals in arrows.items()]
        lines.append("    }")
    return "\n".join(lines)
