"""Gestures: each is said as early as the others of the same button leave no doubt."""

from __future__ import annotations

import pytest

from device_agent.core.gestures import Gestures

Story = list[tuple[str, float]]


def said(bound: set[str], *clicks: tuple[float, float]) -> Story:
    """What is said, and when, of presses that begin and end at these times."""
    gestures, heard = Gestures(bound, 0.3), []
    moves = sorted([(at, True, 0.0) for at, _ in clicks] + [(end, False, end - at) for at, end in clicks])
    for t, down, held in [*moves, (100.0, None, 0.0)]:
        while gestures.next_deadline is not None and gestures.next_deadline <= t:
            at = gestures.next_deadline
            heard += [(name, round(at, 3)) for name in gestures.tick(at)]
        if down is not None:
            heard += [(name, t) for name in (gestures.down(t) if down else gestures.up(t, held))]
    return heard


@pytest.mark.parametrize(
    ("bound", "clicks", "expected"),
    [
        ({"press"}, [(1, 1.2)], [("press", 1), ("release", 1.2)]),
        ({"hold"}, [(1, 3)], [("hold", 1), ("release", 3)]),
        ({"press", "double"}, [(1, 1.1)], [("press", 1.4)]),
        ({"press", "double"}, [(1, 1.1), (1.2, 1.3)], [("double", 1.2), ("release", 1.3)]),
        ({"press", "double"}, [(1, 1.1), (2, 2.1)], [("press", 1.4), ("press", 2.4)]),
        ({"press", "double"}, [(1, 3)], [("press", 3)]),
        ({"press", "triple"}, [(1, 1.1), (1.2, 1.3), (1.4, 1.5)], [("triple", 1.4), ("release", 1.5)]),
        ({"press", "triple"}, [(1, 1.1), (1.2, 1.3)], [("press", 1.6), ("press", 1.6)]),
        ({"double", "triple"}, [(1, 1.1), (1.2, 1.3)], [("double", 1.6)]),
        ({"press", "long"}, [(1, 1.9)], [("press", 1.9)]),
        ({"press", "long"}, [(1, 4)], [("long", 2), ("release", 4)]),
        ({"long", "very_long"}, [(1, 2.5)], [("long", 2.5)]),
        ({"long", "very_long"}, [(1, 2)], [("long", 2)]),
        ({"long", "very_long"}, [(1, 9)], [("very_long", 6), ("release", 9)]),
        ({"press", "hold"}, [(1, 1.2)], [("press", 1.2)]),
        ({"press", "hold"}, [(1, 2)], [("hold", 1.3), ("release", 2)]),
        ({"press", "double", "hold"}, [(1, 1.1), (1.2, 2.5)], [("double", 1.2), ("release", 2.5)]),
    ],
)
def test_gestures(bound: set[str], clicks: list[tuple[float, float]], expected: Story) -> None:
    """The gestures of a button, by what is bound on it."""
    assert said(bound, *clicks) == expected


def test_a_stuck_button_means_nothing_more() -> None:
    """What it has begun ends; what is not clear yet is forgotten."""
    gestures = Gestures({"hold"}, 0.3)
    gestures.down(1.0)
    assert gestures.forget() == ["release"]
    gestures = Gestures({"press", "double"}, 0.3)
    gestures.down(1.0)
    assert gestures.forget() == []
    assert gestures.next_deadline is None


def test_a_tick_too_early_says_nothing() -> None:
    """Nothing is clear before its time."""
    gestures = Gestures({"press", "hold"}, 0.3)
    gestures.down(1.0)
    assert gestures.tick(1.1) == []
