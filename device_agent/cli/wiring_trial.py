"""`device-agent setup wiring`: each light in turn, each button asked for; then what to write, and a drawing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

from device_agent.cli.wiring_lights import try_lights
from device_agent.config.buttons import SIMPLE, Button, buttons
from device_agent.config.checks import SPI0
from device_agent.config.schema import CHAINS, Settings
from device_agent.errors import UsageError
from device_agent.panel.lights import Write
from device_agent.panel.pins import PinFactory, explain, gpio_factory, open_inputs, open_led
from device_agent.setup.wiring import Edge, Finding, Lamp, drawing, judge, to_paste

REST_S = 1.0  # how long nobody touches anything
PRESS_S = 10.0
SETTLE_S = 0.5  # after the last edge
MOST_EDGES = 4000
DRAWING = Path("wiring.svg")

Ask = Callable[[str], str]


def wiring_trial(
    settings: Settings,
    ask: Ask,
    file: Path = DRAWING,
    make_factory: Callable[[], PinFactory] = gpio_factory,
    patience_s: float = PRESS_S,
    rest_s: float = REST_S,
    write: Write | None = None,
) -> None:
    """Raises `UsageError` with the remedy where there is nothing to try, or no pin to be had."""
    places, lights = buttons(settings.panel), settings.lights
    if not places and settings.panel.led_pin < 0 and lights.kind not in ("rgb", *CHAINS):
        raise UsageError("no pin is configured: e.g. --set panel.button_pin=17 --set panel.led_pin=22")
    with ExitStack() as stack:
        try:
            factory = make_factory()
            led = open_led(settings.panel, lights, factory, stack)
            inputs = open_inputs(places, factory, stack)
        except Exception as error:
            raise UsageError(explain(error, settings.panel)) from error
        try:
            lamp = try_lights(lights, led, ask, write)
        except OSError as error:
            raise UsageError(str(error)) from None
        said = _light(settings.panel.led_pin, led, ask) if lamp is None and led is not None else ""
        findings = _buttons(places, inputs, patience_s, rest_s)
    _report(settings, findings, said, lamp, file)


def _light(pin: int, led: Any, ask: Ask) -> str:
    led.on()
    if _yes(ask(f"Is the LED at GPIO {pin} lit? [y/n] ")):
        led.off()
        if not _yes(ask("Is it dark now? [y/n] ")):
            return f"the LED at GPIO {pin} is always lit: it is at a supply, not at the pin"
        return ""
    led.off()
    if _yes(ask("Is it lit now? [y/n] ")):
        return f"the LED at GPIO {pin} is inverted: it goes between the pin and ground, not 3.3 V"
    return f"the LED at GPIO {pin} stays dark: turn it round (the long leg to the pin), check its resistor and wire"


def _buttons(places: tuple[Button, ...], inputs: dict[int, Any], patience_s: float, rest_s: float) -> list[Finding]:
    if not places:
        return []
    edges: Queue[Edge] = Queue(MOST_EDGES)

    def moved(pin: int, down: bool) -> None:
        with suppress(Full):  # a pin that floats: more of the same says nothing new
            edges.put_nowait(Edge(pin, down, time.monotonic()))

    for pin, device in inputs.items():
        low = bool(device.pull_up)  # active means low
        device.when_activated = lambda pin=pin, low=low: moved(pin, low)
        device.when_deactivated = lambda pin=pin, low=low: moved(pin, not low)
    names = {place.pin: f"button {place.name}" for place in places}
    print("Please touch nothing …", flush=True)
    at_rest = _until(edges, rest_s, None)
    findings = []
    for place in places:
        print(f"Press the button {place.name} once (GPIO {place.pin}) …", flush=True)
        findings.append(judge(place, names, at_rest, _until(edges, patience_s, SETTLE_S)))
    return findings


def _until(edges: Queue[Edge], most_s: float, calm_s: float | None) -> list[Edge]:
    """The edges of so many seconds; fewer when nothing came for `calm_s` after one."""
    end = time.monotonic() + most_s
    found: list[Edge] = []
    while (left := end - time.monotonic()) > 0:
        try:
            found.append(edges.get(timeout=min(left, calm_s) if found and calm_s else left))
        except Empty:
            break
    return found


def _report(settings: Settings, findings: list[Finding], light: str, lamp: Lamp | None, file: Path) -> None:
    panel, kind = settings.panel, settings.lights.kind
    for finding in findings:
        print(f"  button {finding.name}: {'; '.join(finding.wrong) or f'good, at GPIO {finding.pin}'}")
    if lamp is not None:
        print(f"  lights ({kind}): {'; '.join(lamp.wrong) or 'good'}")
    elif panel.led_pin >= 0:
        print(f"  LED: {light or f'good, at GPIO {panel.led_pin}'}")
    print("\nFor your configuration file:\n")
    print(to_paste(findings, SIMPLE, panel.led_pin, panel.debounce_ms))
    if lamp is not None:
        print("\n".join(["", "[lights]", f'kind = "{kind}"', *(f"{k} = {v}" for k, v in lamp.settings.items())]))
    used = {finding.pin: f"button {finding.name}" for finding in findings}
    used |= {panel.led_pin: "LED"} if panel.led_pin >= 0 else {}
    used |= {pin: what.removesuffix("_pin") for what, pin in (lamp.settings if lamp else {}).items() if "pin" in what}
    used |= {pin: name for pin, name in SPI0.items() if kind in CHAINS and settings.lights.spi.startswith("0.")}
    try:
        file.write_text(drawing(used), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}): change to another directory") from error
    print(f"\nThe drawing is in {file}.")


def _yes(answer: str) -> bool:
    return answer.strip().lower() in ("y", "yes")
