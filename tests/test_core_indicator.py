"""What the light shows of all that is the case."""

from __future__ import annotations

import pytest

from device_agent.core.commands import Indicator
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link, Turn

EVERYTHING = {
    "setup": True, "fault": "x", "microphone": "x", "loudspeaker": "x", "muted": True, "link": Link.BACKOFF,
    "queued": True, "turn": Turn.SPEAKING, "closed": "x",
}  # fmt: skip


def test_priority() -> None:
    """The indicators are listed by priority: when all is the case and one after the other is mended, each shows."""
    case, seen = dict(EVERYTHING), []
    for mended in ("setup", "fault", "microphone", "loudspeaker", "muted", "link", "queued", "turn", "closed"):
        seen.append(Snapshot(**case).indicator)
        case[mended] = getattr(Snapshot(), mended)
    seen.append(Snapshot(**case).indicator)
    order = list(Indicator)
    assert seen == [order[n] for n in (2, 4, 5, 6, 7, 8, 9, 11, 14, 15)]


@pytest.mark.parametrize("link", [Link.OPENING, Link.INITIATING])
def test_connecting(link: Link) -> None:
    """Until the metadata the device is connecting."""
    assert Snapshot(link=link).indicator is Indicator.CONNECTING


@pytest.mark.parametrize("turn", list(Turn))
def test_each_turn_has_a_light(turn: Turn) -> None:
    """In a conversation the light shows whose turn it is."""
    assert Snapshot(link=Link.READY, turn=turn).indicator.value == turn.value
