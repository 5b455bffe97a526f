"""The pins through gpiozero, which is imported here only and only when pins are used (R15).

A `Button` or a `blink()` of gpiozero would each add a thread: these are its plain input and output devices.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_agent.config.buttons import SIMPLE, Button, buttons
from device_agent.config.schema import CHAINS, Lights, Panel

MODEL = Path("/proc/device-tree/model")

ONE_LED = Lights()

PinFactory = Any
"""A gpiozero factory: it makes pins of one kind."""


def choose_backend(settings: Panel, model: Path = MODEL, lights: Lights = ONE_LED) -> str:
    """`gpio`, `mock` or `none`: what `panel.backend` means on this machine.

    A configured mute pin is a promise: with `auto` it is tried even where no Raspberry Pi can be recognised, so
    that a device which cannot read it is muted and says so, instead of listening.
    """
    if settings.backend == "mock":
        return "mock"
    own = max(settings.led_pin, settings.mute_pin, settings.presence_pin, lights.red_pin) >= 0
    configured = own or buttons(settings) or lights.kind in CHAINS
    if settings.backend == "none" or not configured:
        return "none"
    wanted = settings.backend == "gpio" or settings.mute_pin >= 0 or "Raspberry Pi" in _text(model)
    return "gpio" if wanted else "none"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins in use, None where none is configured: gpiozero's devices, or a mock's pins to press."""

    buttons: Mapping[str, Any] = field(default_factory=dict)
    presence: Any = None
    mute: Any = None
    led: Any = None

    @property
    def button(self) -> Any:
        """That of `panel.button_pin`."""
        return self.buttons.get(SIMPLE)

    def look(self) -> None:
        """Read every input; raises what the GPIO library raises where one cannot be read any more."""
        for pin in (self.mute, self.presence, *self.buttons.values()):
            if pin is not None:
                _ = pin.is_active


def open_pins(settings: Panel, factory: PinFactory, stack: ExitStack, lights: Lights = ONE_LED) -> Pins:
    """Claim all configured pins; `stack` releases them. Raises what the GPIO library raises, the pin in a note."""
    from gpiozero import PWMLED, RGBLED, DigitalInputDevice, DigitalOutputDevice

    def switch(pin: int, active_high: bool = False) -> Any:
        return DigitalInputDevice(pin, pull_up=not active_high, bounce_time=None, pin_factory=factory)

    def sensor(pin: int) -> Any:
        return switch(pin, active_high=True)

    def light(pin: int) -> Any:
        return (PWMLED if lights.kind == "pwm" else DigitalOutputDevice)(pin, pin_factory=factory)

    def colours(_: int) -> Any:
        return RGBLED(lights.red_pin, lights.green_pin, lights.blue_pin, pin_factory=factory)

    def power(pin: int) -> Any:
        return DigitalOutputDevice(pin, initial_value=True, pin_factory=factory)

    _claim(power, "power_pin", lights.power_pin, stack, "lights")
    return Pins(
        buttons={
            button.name: _claim(sensor if button.active_high else switch, _setting(button), button.pin, stack)
            for button in buttons(settings)
        },
        presence=_claim(sensor, "presence_pin", settings.presence_pin, stack),
        mute=_claim(switch, "mute_pin", settings.mute_pin, stack),
        led=_claim(colours, "red_pin", lights.red_pin, stack, "lights")
        if lights.kind == "rgb"
        else _claim(light, "led_pin", settings.led_pin, stack),
    )


def open_inputs(places: Iterable[Button], factory: PinFactory, stack: ExitStack) -> dict[int, Any]:
    """The buttons' pins alone, for a look at their wiring."""
    from gpiozero import DigitalInputDevice

    def make(place: Button) -> Callable[[int], Any]:
        return lambda pin: DigitalInputDevice(pin, pull_up=not place.active_high, bounce_time=None, pin_factory=factory)

    return {place.pin: _claim(make(place), _setting(place), place.pin, stack) for place in places}


def open_led(settings: Panel, lights: Lights, factory: PinFactory, stack: ExitStack) -> Any:
    """The light's own pins, for a look at their wiring; None where none is configured. A chain gets its power."""
    return open_pins(Panel(led_pin=settings.led_pin), factory, stack, lights).led


def _claim(make: Callable[[int], Any], setting: str, pin: int, stack: ExitStack, section: str = "panel") -> Any:
    if pin < 0:
        return None
    try:
        device = make(pin)
    except Exception as error:
        error.add_note(f"{section}.{setting} = {pin}")
        raise
    stack.callback(_release, device)
    return device


def _release(device: Any) -> None:
    """A pin whose chip has vanished cannot be closed: what was wrong before is what is to be said."""
    with suppress(Exception):
        device.close()


def _setting(button: Button) -> str:
    """The setting that names its pin, within [panel]."""
    return "button_pin" if button.name == SIMPLE else f"buttons.{button.name}.pin"


def mock_factory(pwm: bool = False) -> PinFactory:
    """Pins in memory."""
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    return MockFactory(pin_class=MockPWMPin) if pwm else MockFactory()


def mock_pins(settings: Panel, factory: PinFactory) -> Pins:
    """The mock's pins by name: ``pins.button.drive_low()`` presses, ``pins.led.state`` is the light."""
    numbers = {"presence": settings.presence_pin, "mute": settings.mute_pin, "led": settings.led_pin}
    hands = {button.name: factory.pin(button.pin) for button in buttons(settings)}
    return Pins(hands, **{name: factory.pin(number) for name, number in numbers.items() if number >= 0})


def gpio_factory() -> PinFactory:
    """This machine's pins: gpiozero's one factory per process (tools may use pins too), made once.

    We choose lgpio, or where it is not installed RPi.GPIO. gpiozero's own choice hides why the first library failed
    and ends with ones that open a network connection or cannot set a pin.
    """
    from gpiozero import Device

    if Device.pin_factory is None:
        Device.pin_factory = _make_gpio_factory()
    return Device.pin_factory


def leave_lost_chip(factory: PinFactory) -> None:
    """Let go of a chip that has vanished: what was opened of it never works again.

    Until then lgpio's own thread asks the dead lines for edges without a pause.
    """
    lost = getattr(factory, "lost", None)
    if lost is None or not lost():
        return
    from gpiozero import Device

    for pin in factory.pins.values():
        with suppress(Exception):  # its line is dead …
            pin.when_changed = None  # … but lgpio would call it for edges of the chip's successor, and die of it
    factory.pins.clear()
    factory.close()
    if factory is Device.pin_factory:
        Device.pin_factory = None


def header_chip(labels: Mapping[int, str]) -> int:
    """The number of the chip with the header's lines; `labels` are those of all chips that may be used.

    Numbers depend on the kernel, and a chip that was lost may come back under another one. On every Raspberry Pi the
    label begins so (pinctrl-rp1 on a 5); where none does, the first chip is taken.
    """
    return min(
        (number for number, label in labels.items() if label.startswith("pinctrl-")), default=min(labels, default=0)
    )


def _make_gpio_factory() -> PinFactory:
    # lgpio makes a named pipe in its working directory when it is imported; if that fails, no later import in the
    # same process works: so it is given a writable directory first. It also makes $LG_WD the process's working
    # directory, which is why $LG_WD is set only where the present one will not do.
    if not os.access(".", os.W_OK):
        os.environ.setdefault("LG_WD", os.environ.get("RUNTIME_DIRECTORY") or tempfile.gettempdir())
    try:
        from device_agent.panel.chip import HeaderFactory
    except ImportError:
        from gpiozero.pins.rpigpio import RPiGPIOFactory

        return RPiGPIOFactory()
    return HeaderFactory()


def explain(error: BaseException, settings: Panel, dev: Path = Path("/dev")) -> str:
    """One line for a person: which pin, what is wrong, what to do."""
    every = {_setting(button): button.pin for button in buttons(settings)}
    every |= {name: getattr(settings, name) for name in ("presence_pin", "mute_pin", "led_pin")}
    all_pins = [f"panel.{name} = {pin}" for name, pin in every.items() if pin >= 0]
    return f"{', '.join(getattr(error, '__notes__', all_pins))}: {_remedy(error, dev)}"


def _remedy(error: BaseException, dev: Path) -> str:
    name, text = type(error).__name__, str(error).replace("\n", " ")
    chips = sorted(dev.glob("gpiochip*"))
    if isinstance(error, ImportError):
        return f"no GPIO library ({text}); install python3-lgpio"
    if ".lgd-nfy" in text:
        return "lgpio cannot write to its working directory; set LG_WD to one it can write to, and start again"
    if name == "PinUnknownPi":
        return 'this is not a Raspberry Pi; set panel.backend = "none"'
    if name == "GPIOPinInUse" or "busy" in text.lower():
        return "the pin is in use; stop the other program or choose another pin"
    if name == "PinInvalidPin":
        return "there is no such pin on this board; choose another one"
    if not chips:
        return f'no GPIO chip ({dev}/gpiochip*) on this machine; set panel.backend = "none"'
    if isinstance(error, PermissionError) or not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return f"no permission for {chips[0]}; add the user to the group gpio and log in again"
    return f"{name}: {text}"
