"""What the wiring of buttons and lights looks like from the pins, what to write for it, and a drawing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from device_agent.config.buttons import Button
from device_agent.records import record

HEADER: tuple[str | int, ...] = (
    "3V3", "5V", 2, "5V", 3, "GND", 4, 14, "GND", 15, 17, 18, 27, "GND", 22, 23, "3V3", 24, 10, "GND", 9, 25, 11, 8,
    "GND", 7, 0, 1, 5, "GND", 6, 12, 13, "GND", 19, 16, 26, 20, "GND", 21,
)  # fmt: skip
"""The 40-pin header in the order of its numbers from 1: a GPIO (BCM), a supply or ground."""

NOISE = 4  # edges of an untouched input in one second: nothing holds it, or it picks up a hum
GOOD_MS = 20.0


@record
class Edge:
    """An input moved: `down` is towards ground. `t` in seconds."""

    pin: int
    down: bool
    t: float


@record
class Finding:
    """What is known of one input: the pin that it is at, whether it is pressed when high, what is wrong, in words."""

    name: str
    pin: int
    active_high: bool = False
    bounce_ms: float = 0.0
    wrong: tuple[str, ...] = ()


def judge(place: Button, names: Mapping[int, str], at_rest: Sequence[Edge], pressed: Sequence[Edge]) -> Finding:
    """From the edges of all inputs while nobody touched them, and while this button was pressed once."""
    name, pin = place.name, place.pin
    wrong: list[str] = []
    supply = "3.3 V" if place.active_high else "ground"
    noisy = {moving for moving, times in Counter(edge.pin for edge in at_rest).items() if times >= NOISE}
    if pin in noisy:
        wrong.append(f"GPIO {pin} moves while nobody touches it: it floats, or its wire picks up a hum; shorten it")
    own = [edge for edge in pressed if edge.pin == pin]
    if not own:
        others = [edge for edge in pressed if edge.pin not in noisy]
        if not others:
            wrong.append(f"nothing came at GPIO {pin}: check the wire; it goes between GPIO {pin} and {supply}")
            return Finding(name, pin, place.active_high, wrong=tuple(wrong))
        own = [edge for edge in others if edge.pin == others[0].pin]
        other = own[0].pin
        wrong.append(f"it is at GPIO {other}, not {pin}: swapped with {names.get(other, 'another wire')}")
        pin = other
    bounce_ms = _bounce_ms(own)
    if own[0].down is place.active_high:
        rest, moved = ("high", "low") if own[0].down else ("low", "high")
        wrong.append(f"GPIO {pin} is {rest} at rest and {moved} when it is pressed: inverted")
    if bounce_ms > GOOD_MS:
        wrong.append(f"it bounces for {bounce_ms:.0f} ms: panel.debounce_ms must be longer")
    return Finding(name, pin, not own[0].down, bounce_ms, tuple(wrong))


def _bounce_ms(edges: Sequence[Edge]) -> float:
    """How long the contact needs to come to rest: the longest run of edges less than 50 ms apart."""
    longest, began, last = 0.0, edges[0].t, edges[0].t
    for edge in edges[1:]:
        if edge.t - last > 0.05:
            began = edge.t
        last = edge.t
        longest = max(longest, last - began)
    return 1000 * longest


PRIMARIES = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@record
class Lamp:
    """What is known of the lights with colours: what is wrong, in words, and the settings of [lights] that suit."""

    wrong: tuple[str, ...] = ()
    settings: Mapping[str, int] = field(default_factory=dict)


def judge_colours(pins: Mapping[str, int], seen: Mapping[str, str]) -> Lamp:
    """`seen`: the colour that was seen when the pin of a colour was high alone, "" for none."""
    if not any(seen.values()):
        return Lamp(("it stays dark: its longest leg goes to ground (common cathode), the others to their resistors",))
    dark = [f"GPIO {pins[name]} lights nothing: check its resistor and wire" for name in pins if not seen[name]]
    swapped = {found: pins[name] for name, found in seen.items() if found and found != name}
    named = [f"GPIO {pin} lights {found}: swapped" for found, pin in swapped.items()]
    return Lamp((*dark, *named), {f"{name}_pin": swapped.get(name, pin) for name, pin in pins.items()})


def judge_chain(count: int, first: str, lit: int, more: bool) -> Lamp:
    """`first`: the colour of the first light when it ought to be red; `lit` of `count` lights burnt, `more` did not."""
    if not lit:
        return Lamp(("it stays dark: check its supply, that data goes to its input, and lights.kind",))
    wrong = []
    if first != "red":
        said = f"its first light is {first}, not red" if first else "its first light stays dark in red"
        wrong.append(f"{said}: is lights.kind right?")
    if lit < count:
        wrong.append(f"{lit} of {count} lights are lit: lights.count is {lit}, or the wire behind that one is broken")
    if more:
        wrong.append("there are more lights than lights.count")
    return Lamp(tuple(wrong), {"count": lit})


def to_paste(findings: Sequence[Finding], simple: str, led_pin: int, debounce_ms: int) -> str:
    """The lines for the configuration file. `simple` is the name of the button that `panel.button_pin` means."""
    bounce = max((finding.bounce_ms for finding in findings), default=0.0)
    lines = ["[panel]"]
    lines += [f"button_pin = {f.pin}" for f in findings if f.name == simple and not f.active_high]
    lines += [f"led_pin = {led_pin}"] if led_pin >= 0 else []
    lines += [f"debounce_ms = {round(1.5 * bounce)}"] if bounce > debounce_ms else []
    for f in findings:
        if f.name != simple or f.active_high:
            lines += ["", f"[panel.buttons.{f.name}]", f"pin = {f.pin}"]
            lines += ['active = "high"'] if f.active_high else []
            lines += ['press = "talk"'] if f.name == simple else []
    return "\n".join(lines)


def drawing(used: Mapping[int, str]) -> str:
    """The header with what hangs on each pin, as SVG; pin 1 is at the top left."""
    height = 24 * len(HEADER) // 2 + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="560" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="560" height="{height}" fill="#fff"/>',
        '<text x="10" y="18">Pin 1 is the one with the square pad, at the edge with the SD card.</text>',
    ]
    for number, what in enumerate(HEADER, 1):
        lines += _pin(number, what, used)
    return "\n".join([*lines, "</svg>\n"])


def _pin(number: int, what: str | int, used: Mapping[int, str]) -> Iterator[str]:
    right = number % 2 == 0
    x, y = (300 if right else 260), 44 + 24 * ((number - 1) // 2)
    label = used.get(what, "") if isinstance(what, int) else ""
    colour = "#2a2" if label else {"GND": "#333", "3V3": "#c60", "5V": "#c00"}.get(str(what), "#bbb")
    name = f"GPIO {what}" if isinstance(what, int) else what
    text = f"{name} {label}".strip() if right else f"{label} {name}".strip()
    yield f'<circle cx="{x}" cy="{y}" r="8" fill="{colour}"/>'
    yield f'<text x="{x}" y="{y + 4}" text-anchor="middle" font-size="9" fill="#fff">{number}</text>'
    side, anchor = (x + 14, "start") if right else (x - 14, "end")
    yield f'<text x="{side}" y="{y + 4}" text-anchor="{anchor}" fill="{"#000" if label else "#777"}">{text}</text>'
