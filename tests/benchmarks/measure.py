"""The shape of a measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from .bed import Bed, Client

Value = float | None  # None: it never happened
Measured = dict[str, list[Value]]
"""Raw samples by key. Every repetition adds to the lists."""

Show = Callable[[Measured], str]
"""Turns one client's raw samples into its cell of the table."""


def ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def median_of(values: Sequence[Value]) -> Value:
    """The median; None where most of them never happened."""
    known = [value for value in values if value is not None]
    return median(known) if 2 * len(known) > len(values) else None


def p95_of(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    return quantiles(known, n=20)[-1] if len(known) > 1 else None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: what is measured, what is to be reached, how the samples are shown."""

    title: str
    target: str
    show: Show


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, made `repeats` times with each client in turn, and the lines of the table that it fills."""

    name: str
    measure: Callable[[Bed, Client], Measured]
    repeats: int
    lines: tuple[Line, ...]
