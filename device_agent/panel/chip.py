"""The GPIO chip that the header's lines belong to. Imported only where there is lgpio and pins are used (R15)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lgpio
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin
from gpiozero.pins.local import LocalPiFactory

from device_agent.panel.pins import header_chip


def labels(dev: Path = Path("/dev")) -> Mapping[int, str]:
    """What each chip that may be used calls itself, by its number."""
    found = {}
    for number in (int(chip.name.removeprefix("gpiochip")) for chip in dev.glob("gpiochip*")):
        try:
            handle = lgpio.gpiochip_open(number)
        except lgpio.error:
            continue
        _, _, _, found[number] = lgpio.gpio_get_chip_info(handle)
        lgpio.gpiochip_close(handle)
    return found


class HeaderFactory(LGPIOFactory):  # type: ignore[misc] # gpiozero has no types
    """lgpio's pins, of the chip found by its label; knows when that chip is lost."""

    def __init__(self) -> None:
        LocalPiFactory.__init__(self)  # not lgpio's: gpiozero 2.0 and 2.0.1 take chip 0 or 4, whatever they are told
        self._chip = header_chip(labels())
        self._handle = lgpio.gpiochip_open(self._chip)
        self.pin_class = LGPIOPin

    def lost(self) -> bool:
        """Whether what was opened of the chip never works again; one that came back may have the same number."""
        try:
            lgpio.gpio_get_chip_info(self._handle)
        except lgpio.error:
            return True
        return False
