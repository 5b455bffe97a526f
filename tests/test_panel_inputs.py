"""A button's edges: raw, but never without bound."""

from __future__ import annotations

from queue import Queue
from types import SimpleNamespace

from fakes import FakeClock

from device_agent.core.events import Edge
from device_agent.panel.inputs import MOST, Input


class Gone(SimpleNamespace):
    """A pin that cannot be read any more."""

    @property
    def is_active(self) -> bool:
        raise OSError


def test_a_storm_of_edges_is_bounded_and_its_end_is_known() -> None:
    """Ten thousand edges at once become a hundred, and one more that says where the contact is."""
    device, posted, clock = SimpleNamespace(is_active=True), Queue[Edge](), FakeClock(5.0)
    Input("red", device, posted.put, clock)
    for _ in range(5000):
        device.when_activated()
        device.when_deactivated()
    edges = [posted.get(timeout=5) for _ in range(MOST + 1)]
    assert edges[-1] == Edge("red", True, 5.0)
    assert posted.empty()
    clock.advance(1.0)
    device.when_activated()
    assert posted.get(timeout=5) == Edge("red", True, 6.0)


def test_a_pin_that_vanished_is_not_pressed() -> None:
    """What cannot be read any more counts as released."""
    device, posted = Gone(), Queue[Edge]()
    Input("red", device, posted.put, FakeClock())
    for _ in range(MOST + 1):
        device.when_activated()
    assert [posted.get(timeout=5).pressed for _ in range(MOST + 1)] == [True] * MOST + [False]
