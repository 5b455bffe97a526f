"""What one plain LED says: a rhythm for each indicator. Pure; times are whole milliseconds since the rhythm began.

On and off only: brightness would need PWM, which on most pins is a thread that never sleeps. At most three flashes
a second, for the sake of people with photosensitive epilepsy (WCAG 2.3.1). Troubles are counted: two blinks
offline, three no microphone, four no loudspeaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from device_agent.core.commands import Indicator


def _blinks(count: int, period: int) -> tuple[int, ...]:
    """`count` short blinks, then dark until `period` ms are over."""
    return (150, 250) * (count - 1) + (150, period - 400 * (count - 1) - 150)


RHYTHMS: Mapping[Indicator, tuple[int, ...]] = {  # ms on, off, on, off …; empty: steadily on
    Indicator.TOUCH: (),
    Indicator.VOLUME: (400, 100),
    Indicator.SETUP: (600, 200, 200, 200, 200, 200),
    Indicator.BOOT: (1000, 1000),
    Indicator.ERROR: (200, 200),
    Indicator.NO_MICROPHONE: _blinks(3, 2500),
    Indicator.NO_LOUDSPEAKER: _blinks(4, 3000),
    Indicator.MUTED: (900, 200, 200, 700),
    Indicator.OFFLINE: _blinks(2, 2000),
    Indicator.QUEUED: (2000, 2000),
    Indicator.CONNECTING: (500, 500),
    Indicator.SPEAKING: (900, 200),
    Indicator.THINKING: (150, 450),
    Indicator.LISTENING: (),
    Indicator.CLOSED: (80, 9920),
    Indicator.IDLE: (80, 4920),
}


def lit(indicator: Indicator, t: int) -> bool:
    """Whether the LED is on at `t`."""
    rhythm = RHYTHMS[indicator]
    return not rhythm or _phase(rhythm, t)[0] % 2 == 0


def next_change(indicator: Indicator, t: int) -> int | None:
    """When after `t` the LED next goes on or off; None if it never does."""
    rhythm = RHYTHMS[indicator]
    return t + _phase(rhythm, t)[1] if rhythm else None


def _phase(rhythm: tuple[int, ...], t: int) -> tuple[int, int]:
    """The index of the rhythm's part that `t` lies in, and the ms until its end."""
    within = t % sum(rhythm)
    ends = accumulate(rhythm)
    return next((index, end - within) for index, end in enumerate(ends) if within < end)
