"""The buttons: where they are and what each gesture does, from `panel.button_pin` and `[panel.buttons.NAME]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from device_agent.config.schema import Panel
from device_agent.records import record

GESTURES = ("press", "double", "triple", "long", "very_long", "hold")
STATES = ("muted", "offline", "connecting", "listening", "thinking", "speaking", "idle")
ACTIONS = (
    "talk", "end", "stop", "mute", "volume_up", "volume_down", "language_next", "restart", "shutdown", "nothing",
)  # fmt: skip
WITH_TEXT = ("say:", "context:", "tool:")
PINS = range(28)
"""What the 40-pin header has (BCM numbers)."""
SIMPLE = "button"


@record
class Button:
    """An input `pin` (BCM) that is pressed when it is low, or high; `actions` by state ("" for any) and gesture."""

    name: str
    pin: int
    active_high: bool
    actions: Mapping[str, Mapping[str, str]]

    @property
    def gestures(self) -> frozenset[str]:
        """All that mean something in any state."""
        return frozenset(gesture for table in self.actions.values() for gesture in table)

    def action(self, gesture: str, state: str) -> str:
        """What `gesture` does in `state`; empty where it does nothing."""
        own = self.actions.get(state, {})
        return own.get(gesture) or self.actions[""].get(gesture, "")


def buttons(panel: Panel) -> tuple[Button, ...]:
    """All buttons. What `problems` finds fault with is left out."""
    made = [Button(SIMPLE, panel.button_pin, False, {"": {"press": "talk"}})] if panel.button_pin >= 0 else []
    for name, table in panel.buttons.items():
        if not list(_problems(name, table)):
            plain = {gesture: table[gesture] for gesture in GESTURES if gesture in table}
            made.append(Button(name, table["pin"], table.get("active") == "high", {"": plain, **table.get("when", {})}))
    return tuple(made)


def problems(panel: Panel) -> Iterator[str]:
    """Everything that is wrong with `[panel.buttons]`, a line each."""
    if SIMPLE in panel.buttons and panel.button_pin >= 0:
        yield f"panel.buttons.{SIMPLE} is what panel.button_pin makes: choose another name, or remove one of them"
    for name, table in panel.buttons.items():
        yield from _problems(name, table)


def _problems(name: str, table: Any) -> Iterator[str]:
    where = f"panel.buttons.{name}"
    if not isinstance(table, Mapping):
        yield f"{where} must be a table: [{where}] with pin and press"
        return
    yield from _place(where, table)
    when = table.get("when", {})
    tables = {where: table}
    if isinstance(when, Mapping):
        tables |= {f"{where}.when.{state}": inner for state, inner in when.items()}
        for state in when:
            if state not in STATES:
                yield f"{where}.when.{state}: there is no such state; there are {', '.join(STATES)}"
    else:
        yield f"{where}.when must be a table of states"
    gestures: set[str] = set()
    for place, inner in tables.items():
        own = {key: inner[key] for key in inner if key in GESTURES} if isinstance(inner, Mapping) else {}
        gestures |= own.keys()
        yield from _actions(place, inner, own)
    if not gestures:
        yield f'{where} does nothing: give it an action, e.g. press = "talk"'
    if "hold" in gestures and gestures & {"long", "very_long"}:
        yield f"{where}: hold and long begin with the same gesture: keep one of them"


def _place(where: str, table: Mapping[str, Any]) -> Iterator[str]:
    pin = table.get("pin")
    if type(pin) is not int or pin not in PINS:
        yield f"{where}.pin must be a GPIO of the 40-pin header, {PINS[0]} to {PINS[-1]}"
    if table.get("active", "low") not in ("low", "high"):
        yield f"{where}.active must be low (button to ground) or high"
    for key in table.keys() - {"pin", "active", "when", *GESTURES}:
        yield f"{where}.{key}: there is no such setting; there are pin, active, when, {', '.join(GESTURES)}"


def _actions(place: str, inner: Any, own: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(inner, Mapping):
        yield f'{place} must be a table, e.g. {{ press = "stop" }}'
        return
    if ".when." in place:
        for key in inner.keys() - set(GESTURES):
            yield f"{place}.{key}: there is no such gesture; there are {', '.join(GESTURES)}"
    for gesture, action in own.items():
        if isinstance(action, (list, tuple)):
            yield f"{place}.{gesture} must be one action, not several"
        elif not is_action(action):
            yield f"{place}.{gesture} must be one of: {', '.join(ACTIONS)}, say:TEXT, context:TEXT, tool:NAME"


def is_action(action: Any) -> bool:
    """Whether this names something that the device can do."""
    if not isinstance(action, str):
        return False
    return action in ACTIONS or any(action.startswith(kind) and action[len(kind) :].strip() for kind in WITH_TEXT)


def has_action(button: Button, action: str) -> bool:
    """Whether any gesture of the button does this, in any state."""
    return any(action in table.values() for table in button.actions.values())
