"""Knows when the shop is open."""

from typing import Literal

from device_agent import tool

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
HOURS = {"saturday": "10:00 to 14:00", "sunday": "closed"}


@tool
def opening_hours(day: Day) -> str:
    """Tells when the shop is open on a day of the week."""
    return HOURS.get(day, "9:00 to 18:00")
