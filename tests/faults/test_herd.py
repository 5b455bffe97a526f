"""A fleet of ten thousand devices, each with our own retry policy: how hard it comes back at a server."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable

import pytest

from device_agent.core.ending import NETWORK, TRANSIENT
from device_agent.core.retry import Retry

DEVICES = 10_000
RESTART = [0]
ADMITTED_PER_S = 500  # a server takes so many in a second and refuses the rest


def herd(outage_s: float, chance: Callable[[], float]) -> tuple[int, float]:
    """Attempts in the worst second from the server's return on, and when 95 of 100 devices were back."""
    retries = [Retry(chance) for _ in range(DEVICES)]
    due: list[tuple[float, int]] = []

    def again(now: float, device: int) -> None:
        refused = TRANSIENT if now >= outage_s and now > 0 else NETWORK
        delay = retries[device].delay(refused, None, user_waits=False, opened=False)
        assert delay is not None
        heapq.heappush(due, (now + delay, device))

    for device in range(DEVICES):
        again(0.0, device)
    attempts: Counter[int] = Counter()
    admitted: Counter[int] = Counter()
    back = 0
    while due:
        now, device = heapq.heappop(due)
        second = int(now)
        if now >= outage_s:
            attempts[second] += 1
        if now >= outage_s and admitted[second] < ADMITTED_PER_S:
            admitted[second] += 1
            back += 1
            if back == DEVICES * 95 // 100:
                return max(attempts.values()), now - outage_s
        else:
            again(now, device)
    raise AssertionError("they never all come back")


@pytest.mark.parametrize("seed", [1, 2])
def test_after_a_restart_the_herd_is_spread(figure: Callable[[int, str], None], seed: int) -> None:
    """All connections drop at once and the server is there: the worst second sees at most 6,500 attempts."""
    peak, back = herd(0.0, random.Random(seed).random)
    RESTART.append(peak)
    figure(23, f"restart: {max(RESTART)} attempts in the worst second, 95 % back after {back:.0f} s")
    assert peak <= 6_500
    assert back <= 60


@pytest.mark.parametrize("seed", [1, 2])
def test_after_an_outage_it_is_spread_wide(figure: Callable[[int, str], None], seed: int) -> None:
    """A server that was away for a minute sees at most 350 attempts in its worst second."""
    peak, back = herd(60.0, random.Random(seed).random)
    text = f"{max(RESTART)}/s after a restart; {peak}/s after a minute away, 95 % back after {back:.0f} s"
    figure(23, text)
    assert peak <= 350
    assert back <= 60


@pytest.mark.parametrize(("outage_s", "most"), [(0.0, 6_500), (60.0, 350)])
def test_without_jitter_the_herd_comes_as_one(outage_s: float, most: int) -> None:
    """Sabotage: devices that all draw the same lot are seen in one second."""
    peak, _ = herd(outage_s, lambda: 0.5)
    assert peak == DEVICES > most
