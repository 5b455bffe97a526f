"""The played-position clock, against a simulated card whose true position is known."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_agent.audio.played import PlayedClock

RATE = 48_000


class LumpyCard:
    """Plays one second per second and reports what it took in lumps of `lump_s`."""

    def __init__(self, lump_s: float) -> None:
        self.lump = round(lump_s * RATE)
        self.written = 0
        self.started: float | None = None

    def position(self, now: float) -> float:
        return 0.0 if self.started is None else min(self.written, (now - self.started) * RATE)

    def queued(self, now: float) -> int:
        position = int(self.position(now))
        return self.written - (position - position % self.lump)


@settings(deadline=None, suppress_health_check=(HealthCheck.too_slow,))  # a busy machine is no fault
@given(
    st.sampled_from((0.001, 0.01, 0.02)),
    st.lists(st.floats(0.002, 0.019), min_size=60, max_size=120),
    st.integers(1, 40),
)
def test_the_position_is_within_20_ms_of_the_truth(lump_s: float, waits: list[float], first: int) -> None:
    """Whatever the card's lumps and the thread's timing, once it runs and as long as it never starves."""
    card, clock, now = LumpyCard(lump_s), PlayedClock(RATE), 10.0
    for turn, wait in enumerate(waits):
        clock.observe(now, card.queued(now))
        missing = RATE * 6 // 100 - card.queued(now)
        (clock.sound if turn >= first else lambda _, n: clock.silence(n))(7, missing)
        card.written += missing
        if card.started is None:
            card.started = now
        now += wait
        if now < 10.1:
            continue  # before the first lumps nothing is known of the card's start
        assert abs(clock.position(now) - card.position(now)) <= 0.02 * RATE


def test_only_the_reply_counts() -> None:
    """Silence before, between and after is not part of what was heard."""
    clock = PlayedClock(1000)
    clock.silence(10)
    clock.sound(1, 20)
    clock.silence(10)
    clock.sound(1, 20)
    clock.sound(2, 5)
    clock.observe(0.0, 65)
    clock.observe(0.02, 45)
    assert clock.heard_ms(1, 0.02) == 10
    assert clock.heard_ms(1, 0.045) == 25
    assert clock.heard_ms(2, 0.045) == 0
    assert clock.heard_ms(1, 9.0) == 40
    assert clock.heard_ms(2, 9.0) == 5
    assert clock.heard_ms(3, 9.0) == 0


def test_a_card_that_starved_begins_anew() -> None:
    """The time in which nothing played, and the card's new start, are not counted as heard."""
    clock = PlayedClock(1000)
    clock.sound(1, 60)
    clock.observe(0.0, 60)
    clock.observe(0.02, 40)
    clock.observe(0.2, 0)
    assert clock.heard_ms(1, 0.2) == 60
    clock.sound(1, 60)
    clock.observe(0.21, 60)
    clock.observe(0.25, 60)
    clock.observe(0.26, 50)
    assert clock.heard_ms(1, 0.26) == 70


def test_sabotage_without_the_queue_the_clock_runs_ahead() -> None:
    """Counting what was written instead of what left the card is 60 ms wrong."""
    clock = PlayedClock(1000)
    clock.sound(1, 100)
    clock.observe(0.0, 0)
    assert clock.heard_ms(1, 0.0) == 100
    honest = PlayedClock(1000)
    honest.sound(1, 100)
    honest.observe(0.0, 60)
    assert honest.heard_ms(1, 0.0) == 40


def test_old_replies_are_forgotten() -> None:
    """Memory stays bounded over a long life."""
    clock = PlayedClock(1000)
    for event_id in range(100):
        clock.sound(event_id, 1)
        clock.observe(event_id / 1000, 0)
        clock.heard_ms(event_id, event_id / 1000)
    assert clock.heard_ms(0, 1.0) == 0
    assert clock.heard_ms(99, 1.0) == 1


def test_the_time_of_a_sample_lies_ahead_by_what_is_queued() -> None:
    """`time_of` says when something just written will be heard."""
    clock = PlayedClock(1000)
    clock.silence(30)
    clock.observe(5.0, 30)
    assert clock.time_of(30, 5.0) == 5.03
