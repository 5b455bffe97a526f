"""The two state machines as data."""

from __future__ import annotations

from device_agent.core.tables import LINK, TURN, Link, Turn, mermaid


def test_every_state_can_be_reached_and_left() -> None:
    """No state is a trap, none is out of reach."""
    for states, table in ((Link, LINK), (Turn, TURN)):
        assert {source for source, _ in table} == set(states)
        assert set(table.values()) == set(states)


def test_from_everywhere_back_to_rest() -> None:
    """From each state the device can come to rest: by `close` and `ended`, and by `over`."""
    for link in Link:
        closed = LINK.get((link, "close"), link)
        assert LINK.get((closed, "ended"), closed) is Link.DOWN
    for turn in Turn:
        assert TURN.get((turn, "over"), turn) is Turn.IDLE


def test_diagram_has_each_arrow() -> None:
    """The diagram names each transition once."""
    text = mermaid()
    for (source, signal), target in [*LINK.items(), *TURN.items()]:
        line = next(line for line in text.splitlines() if f"{source.name} --> {target.name}:" in line)
        assert signal in line
