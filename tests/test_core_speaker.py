"""The loudspeaker's side, where a story cannot show it; the scenarios tell the rest."""

from __future__ import annotations

import pytest

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.speaker import Speaker
from device_agent.core.state import State
from device_agent.core.tables import Link


@pytest.mark.parametrize("how", ["lost", "overdue"])
def test_what_was_ordered_before_in_the_same_moment_stays_ordered(how: str) -> None:
    """The end of a reply that cannot be played adds its orders to those that are there."""
    state = State(60.0)
    state.change(link=Link.READY)
    speaker = Speaker(state, 0.2, lambda reason: None, one_shot=False)
    speaker.agent_audio(e.AgentAudio(state.conn, 1, 1, 500.0, False))
    getattr(speaker, how)()
    assert state.orders == [c.Play(1), c.Flush()]
