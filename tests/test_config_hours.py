"""Opening hours as people write them."""

from __future__ import annotations

import pytest

from device_agent.config.hours import DAY_MIN, parse

FRI, SAT, SUN = 4 * DAY_MIN, 5 * DAY_MIN, 6 * DAY_MIN


@pytest.mark.parametrize(
    ("texts", "minute", "is_open"),
    [
        ([], 0, True),
        (["Mon-Fri 08:00-18:00"], FRI + 8 * 60, True),
        (["Mon-Fri 08:00-18:00"], FRI + 18 * 60 - 1, True),
        (["Mon-Fri 08:00-18:00"], FRI + 18 * 60, False),
        (["Mon-Fri 08:00-18:00"], SAT + 600, False),
        (["mon-fri 8:00 – 18:00", "Sat,Sun 10:00-14:00"], SUN + 600, True),
        (["Sat-Mon 10:00-14:00"], 600, True),
        (["22:00-02:00"], SUN + 22 * 60, True),
        (["Sun 22:00-02:00"], 60, True),
        (["Sun 22:00-02:00"], DAY_MIN + 60, False),
        (["00:00-24:00"], SUN + DAY_MIN - 1, True),
    ],
)
def test_hours(texts: list[str], minute: int, is_open: bool) -> None:
    """Days, lists and ranges of them, and spans past midnight and past Sunday."""
    assert parse(texts).open_at(minute) is is_open
