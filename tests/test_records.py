"""A record is a frozen, slotted dataclass in all that matters."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import ClassVar

import pytest

from device_agent.records import record


@record
class Point:
    """Two required fields and one with a default."""

    kind: ClassVar[str] = "point"
    x: int
    y: int
    label: str = ""


def test_fields_come_by_position_by_name_and_by_default() -> None:
    """All three ways give equal records with equal hashes."""
    assert Point(1, 2) == Point(x=1, y=2) == Point(1, y=2, label="")
    assert hash(Point(1, 2)) == hash(Point(1, 2, ""))
    assert Point(1, 2, "a").label == "a"


def test_it_is_a_dataclass() -> None:
    """`fields`, `replace` and `match` work, and class variables are no fields."""
    assert is_dataclass(Point)
    assert [f.name for f in fields(Point)] == ["x", "y", "label"]
    assert replace(Point(1, 2), y=3) == Point(1, 3)
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_it_cannot_be_changed() -> None:
    """Neither setting, adding nor deleting a field works."""
    point = Point(1, 2)
    for change in (lambda: setattr(point, "x", 5), lambda: setattr(point, "z", 5), lambda: delattr(point, "x")):
        with pytest.raises(FrozenInstanceError, match="of Point"):
            change()
    assert not hasattr(point, "__dict__")


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [((1,), {}, "lacks y"), ((1, 2, "", 4), {}, "got more"), ((1, 2), {"z": 3}, "got z"), ((1, 2), {"x": 3}, "got x")],
)
def test_wrong_arguments_are_named(args: tuple[int, ...], kwargs: dict[str, int], complaint: str) -> None:
    """Missing, surplus, unknown and doubled arguments raise TypeError, as with any function."""
    with pytest.raises(TypeError, match=complaint):
        Point(*args, **kwargs)  # type: ignore[arg-type]


def test_other_classes_are_never_equal() -> None:
    """Equality needs the same class; a record shows its fields."""

    @record
    class Other:
        x: int
        y: int
        label: str = ""

    assert Point(1, 2) != Other(1, 2)
    assert repr(Other(1, 2)) == "Other(x=1, y=2, label='')"
