"""Kitchen timers: the agent sets them and asks how long they still run."""

import time
from typing import Annotated

from device_agent import tool

timers: dict[str, float] = {}


@tool
def set_timer(name: str, seconds: Annotated[int, "how long from now, in seconds"]) -> None:
    """Starts a kitchen timer, or starts it anew."""
    timers[name] = time.monotonic() + seconds


@tool
def remaining_time() -> dict[str, int]:
    """Tells for each kitchen timer how many seconds it still runs; 0 or less means that it has ended."""
    return {name: round(end - time.monotonic()) for name, end in timers.items()}
