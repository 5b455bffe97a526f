"""What a conversation costs is seen while it lasts; the scenarios session_*.txt tell the rest."""

from __future__ import annotations

from scenario import Stage, configured

from device_agent.core import commands as c
from device_agent.core.session import ACTIVITY_S
from device_agent.protocol import messages as m


def test_the_time_used_is_seen_by_day_and_by_month() -> None:
    """What was used before the restart, and what has been added since."""
    stage = Stage(configured([("activation.modes", "toggle")]))
    stage.do("clock 2026-11-30T10:00")
    stage.do("used 90 on 2026-11-30 300")
    assert (stage.core.snapshot.today_s, stage.core.snapshot.month_s) == (90, 300)
    stage.do("in conversation")
    stage.until(stage.now + 60.0)
    stage.do("clock 2026-11-30T10:01")
    assert (stage.core.snapshot.today_s, stage.core.snapshot.month_s) == (150, 360)


def test_the_agent_hears_of_a_held_button_again_as_soon_as_it_may() -> None:
    """Five seconds after the last time, at the very press."""
    stage = Stage(configured([("activation.modes", "push-to-talk")]))
    stage.do("in conversation")
    stage.until(1.0)
    stage.do("release")  # which was told of at 0.0
    stage.until(ACTIVITY_S)
    stage.do("press")
    sent = [at for at, order in stage.done if isinstance(order, c.Send) and isinstance(order.message, m.UserActivity)]
    assert sent == [ACTIVITY_S]
