"""How long to wait for the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.config.schema import Activation, Session, Settings
from device_agent.core.commands import Connect
from device_agent.core.conversation import Conversation
from device_agent.core.ending import CAPACITY, CLOCK, KEY, NETWORK, OVERRIDE, TRANSIENT, End, Kind, Verdict
from device_agent.core.events import LinkEnded, LinkOpened, ServerSaid, Start, Tick
from device_agent.core.retry import FLOOR_S, LONGEST_S, YOUNG_CAP_S, Retry
from device_agent.protocol.messages import Metadata

VERDICTS = st.sampled_from([CAPACITY, CLOCK, KEY, NETWORK, TRANSIENT])
DRAWS = st.floats(0, 1, exclude_max=True)


def delays(draw: float, verdict: Verdict, count: int, opened: bool = False) -> list[float | None]:
    retry = Retry(lambda: draw)
    return [retry.delay(verdict, None, user_waits=True, opened=opened) for _ in range(count)]


def test_ceiling_doubles_up_to_the_cap() -> None:
    """The first delay is below 1 s where somebody waits; then 2, 4, 8 … s, up to the cap of its kind."""
    assert delays(1.0, TRANSIENT, 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delays(1.0, NETWORK, 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delays(0.0, NETWORK, 3) == [FLOOR_S] * 3
    assert delays(0.0, CAPACITY, 2) == [5, 5]


def test_a_fleet_without_people_spreads_over_five_seconds() -> None:
    """Where nobody waits the first delay is up to 5 s."""
    assert Retry(lambda: 1.0).delay(NETWORK, None, user_waits=False, opened=False) == 5


def test_waiting_for_a_person_or_the_clock_does_not_grow() -> None:
    """A fixed delay stays what it is, and the failures after it begin with a short one."""
    retry = Retry(lambda: 1.0)
    for _ in range(9):
        assert retry.delay(CLOCK, None, True, False) == 5
    assert retry.delay(NETWORK, None, True, False) == 1


def test_three_refusals_in_a_row_are_the_last() -> None:
    """What only a person can mend is given up at the third time in a row; other failures in between start anew."""
    retry = Retry(lambda: 1.0)
    for verdict in (OVERRIDE, OVERRIDE, NETWORK, OVERRIDE, OVERRIDE):
        assert retry.delay(verdict, None, True, True) is not None
    assert retry.delay(OVERRIDE, None, True, True) is None
    retry.reset()
    assert retry.delay(OVERRIDE, None, True, True) == 1


def test_the_servers_wish_is_kept() -> None:
    """Retry-After is a lower bound with up to a quarter more; an absurd one is an hour."""
    assert Retry(lambda: 0.0).delay(TRANSIENT, 7.0, True, False) == 7
    assert Retry(lambda: 1.0).delay(TRANSIENT, 7.0, True, False) == 8.75
    assert Retry(lambda: 0.0).delay(TRANSIENT, 1e9, True, False) == LONGEST_S


@pytest.mark.parametrize(
    "rng", [lambda: 0.0, lambda: 0.999999, random.Random(1).random], ids=["least", "most", "random"]
)
@pytest.mark.parametrize("verdict", [NETWORK, TRANSIENT])
def test_a_socket_that_opens_and_dies_at_once_keeps_growing(rng: Callable[[], float], verdict: Verdict) -> None:
    """At most 12 attempts in 5 minutes, whatever the draws."""
    retry, now, attempts = Retry(rng), 0.0, 1
    for _ in range(100):
        delay = retry.delay(verdict, None, user_waits=True, opened=True)
        assert delay is not None
        now += delay
        attempts += now <= 300
    assert attempts <= 12


@settings(deadline=None, max_examples=50)
@given(DRAWS, st.lists(st.tuples(VERDICTS, st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_bounds(draw: float, story: list[tuple[Verdict, bool, bool]]) -> None:
    """Every delay lies between its floor and its cap."""
    retry = Retry(lambda: draw)
    for verdict, waits, opened in story:
        delay = retry.delay(verdict, None, waits, opened)
        assert delay is not None
        cap = verdict.fixed_s or (YOUNG_CAP_S if opened else max(5.0, verdict.cap_s))
        assert max(FLOOR_S, verdict.floor_s) <= delay <= cap


def test_an_hour_has_sixty_connections_at_most() -> None:
    """Whatever opens and dies: the 61st by ourselves waits until the first is an hour old."""
    retry = Retry(lambda: 0.0)
    for n in range(60):
        retry.opened(float(n))
    assert retry.delay(NETWORK, None, True, True, now=100.0) == 3500
    assert retry.delay(NETWORK, None, True, False, now=3600.0) == FLOOR_S


def test_a_device_whose_conversations_break_again_and_again_keeps_to_it() -> None:
    """Good ones, of half a minute each, at which every count of failures begins anew."""
    free = Session(connects_per_hour=0, idle_close_s=0)
    core = Conversation(Settings(activation=Activation(("always-on",)), session=free), lambda: 0.0)
    now, attempts, orders = 0.0, [], core.handle(Start(), 0.0)
    while now < 7200:
        if any(isinstance(order, Connect) for order in orders):
            attempts.append(now)
            conn = len(attempts)
            for event in (LinkOpened(conn), ServerSaid(conn, Metadata("c", "pcm_16000", "pcm_16000"))):
                core.handle(event, now)
            while (due := core.next_deadline()) is not None and due < now + 31:
                core.handle(Tick(), due)
            now += 31
            orders = core.handle(LinkEnded(conn, End(Kind.NETWORK, 104)), now)
        else:
            due = core.next_deadline()
            assert due is not None
            now = due
            orders = core.handle(Tick(), now)
    assert all(later - first >= 3600 for first, later in zip(attempts, attempts[60:], strict=False))
    assert len(attempts) > 100


def test_days_offline_do_not_overflow() -> None:
    """Two thousand failures in a row are just that."""
    assert delays(0.5, NETWORK, 2000)[-1] == 30
