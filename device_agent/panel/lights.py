"""The kinds of light behind one face: `show` pixels, `close`. Each belongs to the panel's thread."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from device_agent.config.schema import CHAINS, Lights
from device_agent.core.commands import Indicator
from device_agent.panel.encode import APA102_HZ, WS2812_HZ, Colour, apa102, ws2812
from device_agent.panel.looks import LOOKS, STEP_MS, Envelope, Look, frame, moves
from device_agent.panel.patterns import lit, next_change

SET_SPEED = 0x40046B04  # SPI_IOC_WR_MAX_SPEED_HZ
DEV = Path("/dev")

Write = Callable[[bytes], Any]


class Blinker:
    """One LED, on or off: told apart by rhythm. A touch is answered by the other state than the one before."""

    shows_mute = False

    def __init__(self, led: Any) -> None:
        self._led = led
        self._touched = False

    def show(self, indicator: Indicator, t: int, level: float, muted: bool, now: float) -> int | None:
        """Show it; the milliseconds until that must be done again, None: until something happens."""
        if indicator is Indicator.TOUCH:
            if not self._touched:  # not by `t`: an order that follows at once shows it again within a millisecond
                self._touched = True
                self._led.value = not self._led.value
            return None
        self._touched = False
        self._led.value = lit(indicator, t)
        change = next_change(indicator, t)
        return None if change is None else change - t

    def close(self) -> None:
        """Dark: releasing a pin leaves it as it is."""
        self._led.off()


class Pixels:
    """Lights with brightness: one PWM or RGB LED, or a chain. `put` takes the pixels."""

    def __init__(self, settings: Lights, put: Callable[[Sequence[Colour]], None]) -> None:
        self._count = settings.count if settings.kind in CHAINS else 1
        self.shows_mute = self._count > 1
        self._put = put
        self._looks = {indicator: _look(indicator, settings) for indicator in Indicator}
        self._envelope = Envelope()
        self._shown: list[Colour] | None = None

    def show(self, indicator: Indicator, t: int, level: float, muted: bool, now: float) -> int | None:
        """As `Blinker.show`; what has not changed is not written again."""
        look = self._looks[indicator]
        if look.pattern == "level":
            level = self._envelope.follow(level, now)
        pixels = frame(indicator, look, t, level, self._count, muted)
        if pixels != self._shown:
            self._put(pixels)
            self._shown = pixels
        return STEP_MS if moves(indicator, look) else None

    def close(self) -> None:
        """Dark."""
        self._put([(0, 0, 0)] * self._count)


Light = Blinker | Pixels


def open_light(settings: Lights, led: Any, write: Write | None, stack: ExitStack) -> Light | None:
    """The light of this configuration; `led` is what `open_pins` has claimed for it, None without a light on pins.

    `write` stands in for the SPI device. Raises `OSError` with a remedy for SPI that cannot be used.
    """
    bright = settings.brightness / 100
    if settings.kind in CHAINS:
        return Pixels(settings, open_chain(settings, write, stack))
    if led is None:
        return None
    if settings.kind == "led":
        return Blinker(led)
    if settings.kind == "pwm":
        return Pixels(settings, lambda pixels: setattr(led, "value", max(pixels[0]) / 255 * bright))
    return Pixels(settings, lambda pixels: setattr(led, "value", tuple(part / 255 * bright for part in pixels[0])))


def open_chain(settings: Lights, write: Write | None, stack: ExitStack) -> Callable[[Sequence[Colour]], None]:
    """What puts pixels on the chain; `write` and errors as in `open_light`."""
    put, bright = write or open_spi(settings, stack), settings.brightness / 100
    if settings.kind == "apa102":
        steps = max(1, round(31 * bright))
        return lambda pixels: put(apa102(pixels, steps))
    return lambda pixels: put(ws2812([_dimmed(pixel, bright) for pixel in pixels]))


def open_spi(settings: Lights, stack: ExitStack, dev: Path = DEV) -> Write:
    """The kernel's SPI device, at the speed that the chain wants. One `write` is one transfer."""
    path = dev / f"spidev{settings.spi}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(f"lights.spi = {settings.spi}: {_remedy(error, path)}") from error
    stack.callback(os.close, fd)
    hz = APA102_HZ if settings.kind == "apa102" else WS2812_HZ
    fcntl.ioctl(fd, SET_SPEED, struct.pack("I", hz))
    return lambda data: os.write(fd, data)


def _remedy(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return f"there is no {path}: SPI is off; switch it on (dtparam=spi=on in config.txt, then reboot)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission for {path}; add the user to the group spi and log in again"
    return f"{path}: {error.strerror}"


def _dimmed(pixel: Colour, part: float) -> Colour:
    red, green, blue = pixel
    return round(red * part), round(green * part), round(blue * part)


def _look(indicator: Indicator, settings: Lights) -> Look:
    """The look from the table, or as somebody wishes it; muted is nobody's wish."""
    look = LOOKS[indicator]
    colour = settings.colours.get(indicator.value)
    return Look(parse_colour(colour) if colour else look.colour, settings.patterns.get(indicator.value, look.pattern))


def parse_colour(text: str) -> Colour:
    """#rrggbb."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
