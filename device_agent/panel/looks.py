"""What a light with brightness, colour or several pixels shows: one table of looks, and the frames that they make.

Pure: indicator, time and level in, pixels out. A light that is only on or off has rhythms instead (`patterns`).
No pixel flashes more than three times a second (WCAG 2.3.1), whatever is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, pi

from device_agent.core.commands import Indicator
from device_agent.panel.encode import Colour
from device_agent.panel.patterns import RHYTHMS, lit
from device_agent.records import record

RED: Colour = (255, 0, 0)
FLOOR = 0.35  # of a look that follows a level: it never looks off
STEP_MS = 50
FLASH_S = 0.34

TURNING = 1200  # ms a round of two opposed comets: each pixel is met twice


@record
class Look:
    """A colour, and how it moves: a name in `PATTERNS`."""

    colour: Colour
    pattern: str


LOOKS: Mapping[Indicator, Look] = {
    Indicator.TOUCH: Look((255, 255, 255), "steady"),
    Indicator.VOLUME: Look((255, 255, 255), "bar"),
    Indicator.SETUP: Look((255, 200, 120), "comets"),
    Indicator.BOOT: Look((255, 200, 120), "breathe"),
    Indicator.ERROR: Look(RED, "rhythm"),
    Indicator.NO_MICROPHONE: Look((255, 80, 0), "rhythm"),
    Indicator.NO_LOUDSPEAKER: Look((255, 80, 0), "rhythm"),
    Indicator.MUTED: Look(RED, "steady"),
    Indicator.OFFLINE: Look((255, 40, 0), "breathe"),
    Indicator.QUEUED: Look((160, 60, 255), "breathe"),
    Indicator.CONNECTING: Look((0, 120, 255), "comets"),
    Indicator.SPEAKING: Look((0, 255, 90), "level"),
    Indicator.THINKING: Look((0, 120, 255), "rhythm"),
    Indicator.LISTENING: Look((0, 190, 255), "level"),
    Indicator.CLOSED: Look((40, 20, 0), "steady"),
    Indicator.IDLE: Look((0, 30, 40), "breathe"),
}

Shape = Callable[[Indicator, int, float, int], list[float]]


def _breathe(_: Indicator, t: int, level: float, count: int) -> list[float]:
    return [0.1 + 0.45 * (1 - cos(2 * pi * t / 4000))] * count


def _comets(_: Indicator, t: int, level: float, count: int) -> list[float]:
    if count < 4:  # too short to turn
        return [0.2 + 0.4 * (1 - cos(2 * pi * t / TURNING))] * count
    head = t * count / TURNING
    half = count / 2
    return [max(0.0, 1 - ((head - pixel) % half) / (half * 0.7)) for pixel in range(count)]


def _bar(_: Indicator, t: int, level: float, count: int) -> list[float]:
    return [max(0.0, min(1.0, level * count - pixel)) for pixel in range(count)] if count > 1 else [level]


PATTERNS: Mapping[str, Shape] = {
    "steady": lambda _, t, level, count: [1.0] * count,
    "breathe": _breathe,
    "comets": _comets,
    "rhythm": lambda indicator, t, _, count: [float(lit(indicator, t))] * count,
    "level": lambda _, t, level, count: [FLOOR + (1 - FLOOR) * level] * count,
    "bar": _bar,
}


def frame(indicator: Indicator, look: Look, t: int, level: float, count: int, muted: bool) -> list[Colour]:
    """`count` pixels, `t` ms after the indicator began. `level` is 0 … 1: of the sound, or the volume.

    Muted is red and steady at the first pixel and the one opposite, whatever else is shown; on a light of one pixel
    the indicator itself is muted then, but for a touch or what is graver.
    """
    red, green, blue = look.colour
    shape = PATTERNS[look.pattern](indicator, t, level, count)
    pixels = [(round(red * part), round(green * part), round(blue * part)) for part in shape]
    if muted and count > 1:
        pixels[0] = pixels[count // 2] = RED
    return pixels


def moves(indicator: Indicator, look: Look) -> bool:
    """Whether the light changes by itself or with a level."""
    return look.pattern in ("breathe", "comets", "level") or (look.pattern == "rhythm" and bool(RHYTHMS[indicator]))


class Envelope:
    """Follows a level, at most three times up in a second: falls within 0.4 s, waits with the next rise."""

    def __init__(self) -> None:
        self._value = self._aim = 0.0
        self._rose = float("-inf")
        self._at = 0.0

    def follow(self, level: float, now: float) -> float:
        """The value to show at `now` (seconds)."""
        fallen = max(0.0, self._value - (now - self._at) / 0.4)
        self._at = now
        if level > fallen and now - self._rose >= FLASH_S:
            self._rose = now
            self._value = level
        else:
            self._value = fallen
        return self._value


def loudness(level_db: float) -> float:
    """dBFS to 0 … 1: speech fills the range."""
    return max(0.0, min(1.0, (level_db + 55) / 40))
