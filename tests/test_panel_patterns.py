"""The light's rhythms."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.core.commands import Indicator
from device_agent.panel.patterns import RHYTHMS, lit, next_change

TIMES = st.integers(0, 10_000_000_000)

# What the LED does in the first seconds, one mark per 100 ms: # on, . off.
PICTURES = {
    Indicator.TOUCH: "##########",
    Indicator.VOLUME: "####.####.####.",
    Indicator.SETUP: "######..##..##..######",
    Indicator.BOOT: "##########..........##########",
    Indicator.CLOSED: "#" + 99 * "." + "#",
    Indicator.ERROR: "##..##..##..##..",
    Indicator.NO_MICROPHONE: "##..##..##...............##..##..##...............",
    Indicator.NO_LOUDSPEAKER: "##..##..##..##................##..##",
    Indicator.MUTED: "#########..##.......#########..##.......",
    Indicator.OFFLINE: "##..##..............##..##..............",
    Indicator.QUEUED: "####################....................",
    Indicator.CONNECTING: "#####.....#####.....",
    Indicator.SPEAKING: "#########..#########..",
    Indicator.THINKING: "##....##....##....##....",
    Indicator.LISTENING: "####################",
    Indicator.IDLE: "#.................................................#",
}


@pytest.mark.parametrize("indicator", Indicator)
def test_each_indicator_has_its_picture(indicator: Indicator) -> None:
    """Sampled every 100 ms, the LED draws the picture of its indicator."""
    picture = PICTURES[indicator]
    assert "".join(".#"[lit(indicator, 100 * i)] for i in range(len(picture))) == picture


@given(st.sampled_from(Indicator), TIMES)
def test_never_more_than_three_flashes_in_a_second(indicator: Indicator, start: int) -> None:
    """In any second the LED goes on at most three times (WCAG 2.3.1)."""
    flashes, t = 0, start
    while (change := next_change(indicator, t)) is not None and change < start + 1000:
        flashes += lit(indicator, change)
        t = change
    assert flashes <= 3


@given(st.sampled_from(Indicator), TIMES)
def test_next_change_is_the_very_next_one(indicator: Indicator, t: int) -> None:
    """The light stays as it is until `next_change`, is different there, and that is at least 40 ms long."""
    change = next_change(indicator, t)
    if change is None:
        assert lit(indicator, t)
        return
    assert change > t
    assert lit(indicator, change - 1) == lit(indicator, t) != lit(indicator, change)
    after = next_change(indicator, change)
    assert after is not None and after - change >= 40  # ≤ 25 Hz


def test_indicators_can_be_told_apart() -> None:
    """Any two rhythms differ in blinks per round, tempo (1.5 times) or share of light (0.2); a touch is none."""

    def features(indicator: Indicator) -> tuple[int, float, float]:
        rhythm = RHYTHMS[indicator] or (1, 0)
        return len(rhythm) // 2, sum(rhythm), sum(rhythm[::2]) / sum(rhythm)

    for one, other in combinations([i for i in Indicator if i is not Indicator.TOUCH], 2):
        (blinks1, period1, share1), (blinks2, period2, share2) = features(one), features(other)
        tempo = max(period1, period2) / min(period1, period2)
        assert blinks1 != blinks2 or tempo >= 1.5 or abs(share1 - share2) >= 0.2, (one, other)
