"""Opening hours: "Mon-Fri 08:00-18:00", "Sat,Sun 10:00-14:00", "22:00-02:00" (every day, past midnight)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from device_agent.records import record

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
_SHAPE = re.compile(r"(?:([a-z,\- ]+?)\s+)?(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)")


@record
class Hours:
    """When it is open: spans of minutes since Monday 00:00, local time; the end may lie in the next week."""

    spans: tuple[tuple[int, int], ...] = ()

    def open_at(self, minute: int) -> bool:
        """Whether it is open in this minute of the week (0 … 10079). Without any span it always is."""
        return not self.spans or any(a <= minute < b or a <= minute + WEEK_MIN < b for a, b in self.spans)


def parse(texts: Iterable[str]) -> Hours:
    """Raises `ValueError` with what is wrong and how it is written."""
    return Hours(tuple(span for text in texts for span in _spans(text)))


def _spans(text: str) -> list[tuple[int, int]]:
    match = _SHAPE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f'{text!r} is not like "Mon-Fri 08:00-18:00"')
    begin, end = (_minute(match[n], match[n + 1], text) for n in (2, 4))
    if begin == end:
        raise ValueError(f'{text!r} is never open: write "00:00-24:00" for the whole day')
    if end < begin:
        end += DAY_MIN
    return [(day * DAY_MIN + begin, day * DAY_MIN + end) for day in _days(match[1], text)]


def _minute(hour: str, minute: str, text: str) -> int:
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > DAY_MIN:
        raise ValueError(f"{text!r}: there is no {hour}:{minute}")
    return total


def _days(names: str | None, text: str) -> list[int]:
    if names is None:
        return list(range(7))
    days: list[int] = []
    for part in names.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        try:
            a, b = DAYS.index(first), DAYS.index(last or first)
        except ValueError:
            raise ValueError(f"{text!r}: days are {', '.join(day.title() for day in DAYS)}") from None
        days += [(a + n) % 7 for n in range((b - a) % 7 + 1)]
    return days
