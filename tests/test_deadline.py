"""One deadline for several steps."""

from __future__ import annotations

from fakes import FakeClock

from device_agent.runtime.deadline import Deadline


def test_what_is_left_shrinks_to_zero() -> None:
    """The steps of an operation share its time; there is never less than none left."""
    clock = FakeClock(100.0)
    deadline = Deadline(2.0, clock)
    assert deadline.remaining() == 2.0
    clock.advance(1.5)
    assert deadline.remaining() == 0.5
    assert not deadline.passed
    clock.advance(10.0)
    assert deadline.remaining() == 0.0
    assert deadline.passed


def test_no_time_has_passed_at_once() -> None:
    """A deadline of nothing is over before it begins."""
    assert Deadline(0.0, FakeClock()).passed
