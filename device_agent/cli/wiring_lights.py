"""The lights with colours of `device-agent setup wiring`: each in turn, and what the person sees."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from device_agent.config.schema import CHAINS, Lights
from device_agent.panel.encode import Colour
from device_agent.panel.lights import Write, open_chain
from device_agent.setup.wiring import PRIMARIES, Lamp, judge_chain, judge_colours

Ask = Callable[[str], str]
COLOURS = {name[0]: name for name in PRIMARIES}


def try_colours(lights: Lights, led: Any, ask: Ask) -> Lamp:
    """An RGB LED: each of its pins alone. `led` takes three values from 0 to 1."""
    pins = {name: int(getattr(lights, f"{name}_pin")) for name in PRIMARIES}
    seen = {}
    for name, pin in pins.items():
        led.value = tuple(float(name == other) for other in PRIMARIES)
        seen[name] = _colour(ask(f"GPIO {pin}: which colour do you see? [r/g/b, n: none] "))
    led.off()
    return judge_colours(pins, seen)


def try_chain(lights: Lights, ask: Ask, write: Write | None = None) -> Lamp:
    """A chain: its first light in red, then all of them. `write` stands for the SPI device. `OSError` without one."""
    with ExitStack() as stack:
        put = open_chain(lights, write, stack)
        dark: list[Colour] = [(0, 0, 0)] * lights.count
        put([PRIMARIES["red"], *dark[1:]])
        first = _colour(ask("Which colour has the first light? [r/g/b, n: none] "))
        put([(255, 255, 255)] * lights.count)
        lit = _number(ask(f"How many lights are lit? [{lights.count}] "), lights.count)
        more = ask("Are there more behind them, which stay dark? [y/n] ").strip().lower() in ("y", "yes")
        put(dark)
    return judge_chain(lights.count, first, lit, more)


def try_lights(lights: Lights, led: Any, ask: Ask, write: Write | None = None) -> Lamp | None:
    """What there is to say of the lights of [lights]; None of a plain LED, which has no colours."""
    if lights.kind in CHAINS:
        return try_chain(lights, ask, write)
    return try_colours(lights, led, ask) if lights.kind == "rgb" else None


def _colour(answer: str) -> str:
    return COLOURS.get(answer.strip().lower()[:1], "")


def _number(answer: str, otherwise: int) -> int:
    return int(answer) if answer.strip().isdecimal() else otherwise
