"""Checks across settings: what each of them alone cannot show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from device_agent.config.buttons import SIMPLE, buttons, has_action, problems
from device_agent.config.cards import parse
from device_agent.config.endpoints import address_problem
from device_agent.config.hours import parse as parse_hours
from device_agent.config.schema import CHAINS, Lights, Panel, Settings

FRAME_MS = 20
PATTERNS = ("steady", "breathe", "comets", "rhythm", "level", "bar")
LIGHT_STATES = (
    "touch", "volume", "setup", "boot", "error", "no-microphone", "no-loudspeaker", "offline", "queued", "connecting",
    "speaking", "thinking", "listening", "closed", "idle",
)  # fmt: skip
Contradiction = tuple[tuple[str, ...], str]
"""The settings that take part, and the problem in one line."""


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Every problem between settings."""
    yield from _server(settings)
    yield from _cards(settings)
    yield from _gate(settings)
    yield from _panel(settings)
    yield from _activation(settings)
    yield from _languages(settings)
    yield from _session(settings)
    yield from _volume(settings)
    yield from _lights(settings)


def _server(settings: Settings) -> Iterator[Contradiction]:
    server = settings.server
    if server.url:
        if problem := address_problem(server.url, ("wss", "https"), ("ws", "http"), base=True):
            yield ("server.url",), f"server.url {problem}"
        if server.region != "global":
            yield (
                ("server.url", "server.region"),
                "server.url and server.region are both set: remove one of them, the address already says where",
            )
    if server.broker_url and (problem := address_problem(server.broker_url, ("https",), ("http",), base=False)):
        yield ("server.broker_url",), f"server.broker_url {problem}"
    if server.auth == "broker" and not server.broker_url:
        yield ("server.auth", "server.broker_url"), "server.auth is broker, which needs server.broker_url"


def _cards(settings: Settings) -> Iterator[Contradiction]:
    for name, texts in (("audio.input", settings.audio.input), ("audio.output", settings.audio.output)):
        for text in texts:
            try:
                parse(text)
            except ValueError as error:
                yield (name,), f"{name}: {error}"


def _gate(settings: Settings) -> Iterator[Contradiction]:
    gate = settings.gate
    if gate.onset > gate.window:
        yield (
            ("gate.onset", "gate.window"),
            f"gate.onset ({gate.onset}) must not exceed gate.window ({gate.window}), or the gate never opens",
        )
    if gate.preroll_ms < gate.window * FRAME_MS:
        yield (
            ("gate.preroll_ms", "gate.window"),
            f"gate.preroll_ms ({gate.preroll_ms}) must be at least gate.window × {FRAME_MS} ms "
            f"({gate.window * FRAME_MS}), or first words lose their beginning",
        )


def _volume(settings: Settings) -> Iterator[Contradiction]:
    audio = settings.audio
    if not audio.mixer.rpartition("/")[2].strip():
        yield (
            ("audio.mixer",),
            "audio.mixer names no control: write software, or one that `amixer scontrols` lists",
        )
    if audio.volume > audio.volume_max:
        yield (
            ("audio.volume", "audio.volume_max"),
            f"audio.volume ({audio.volume}) exceeds audio.volume_max ({audio.volume_max}): make one of them fit",
        )


def _session(settings: Settings) -> Iterator[Contradiction]:
    session = settings.session
    if session.daily_minutes == 0:
        yield (
            ("session.daily_minutes",),
            "session.daily_minutes is 0, which never opens a conversation: write 1440 for the whole day",
        )
    for hours in session.hours:
        try:
            parse_hours([hours])
        except ValueError as error:
            yield ("session.hours",), f"session.hours: {error}"


def _panel(settings: Settings) -> Iterator[Contradiction]:
    panel = settings.panel
    for problem in problems(panel):
        yield ("panel.buttons",), problem
    owners: dict[int, str] = {}
    for name, pin in used_pins(panel) + light_pins(settings.lights):
        if pin in owners:
            yield (
                tuple(".".join(full.split(".")[:2]) for full in (owners[pin], name)),
                f"{owners[pin]} and {name} are both {pin}: each needs a pin of its own",
            )
        owners.setdefault(pin, name)


def used_pins(panel: Panel) -> list[tuple[str, int]]:
    """The settings that name a pin, with its number."""
    names = ("button_pin", "led_pin", "mute_pin", "presence_pin")
    own = [(f"panel.{name}", getattr(panel, name)) for name in names if getattr(panel, name) >= 0]
    more = [(f"panel.buttons.{button.name}.pin", button.pin) for button in buttons(panel) if button.name != SIMPLE]
    return own + more


SPI0 = {9: "MISO", 10: "MOSI", 11: "SCLK"}


def light_pins(lights: Lights) -> list[tuple[str, int]]:
    """The pins of [lights], in the same way."""
    names = ("red_pin", "green_pin", "blue_pin", "power_pin")
    return [(f"lights.{name}", getattr(lights, name)) for name in names if getattr(lights, name) >= 0]


def _lights(settings: Settings) -> Iterator[Contradiction]:
    lights = settings.lights
    if lights.kind == "pwm" and settings.panel.led_pin < 0:
        yield ("lights.kind", "panel.led_pin"), "lights.kind is pwm, which needs panel.led_pin"
    if lights.kind == "rgb" and min(lights.red_pin, lights.green_pin, lights.blue_pin) < 0:
        yield ("lights.kind",), "lights.kind is rgb, which needs lights.red_pin, lights.green_pin and lights.blue_pin"
    if not re.fullmatch(r"\d+\.\d+", lights.spi):
        yield ("lights.spi",), 'lights.spi must be BUS.SELECT, e.g. "0.0"'
    if lights.kind in CHAINS and lights.spi.startswith("0."):
        for name, pin in used_pins(settings.panel) + light_pins(lights):
            if pin in SPI0:
                yield (
                    ("lights.kind", ".".join(name.split(".")[:2])),
                    f"{name} is {pin}, which is {SPI0[pin]} of the SPI that lights.kind = {lights.kind} uses: "
                    "choose another pin",
                )
    yield from _wishes("colours", lights.colours, lambda text: bool(re.fullmatch("#[0-9a-fA-F]{6}", text)), "#rrggbb")
    yield from _wishes("patterns", lights.patterns, lambda text: text in PATTERNS, f"one of: {', '.join(PATTERNS)}")


def _wishes(key: str, wishes: Mapping[str, Any], valid: Callable[[str], bool], shape: str) -> Iterator[Contradiction]:
    for state, wish in wishes.items():
        where = f"lights.{key}.{state}"
        if state == "muted":
            yield (f"lights.{key}",), f"{where}: muted is always red and steady, so that everybody knows it: remove it"
        elif state not in LIGHT_STATES:
            yield (f"lights.{key}",), f"{where}: there is no such state; {', '.join(LIGHT_STATES)} are"
        elif not (isinstance(wish, str) and valid(wish)):
            yield (f"lights.{key}",), f"{where} must be {shape}"


def _activation(settings: Settings) -> Iterator[Contradiction]:
    panel, modes = settings.panel, settings.activation.modes
    names = "activation.modes", "panel.button_pin", "panel.buttons", "panel.backend"
    if not set(modes) - {"one-shot"}:
        what = "is empty" if not modes else "names only one-shot, which opens nothing"
        yield ("activation.modes",), f"activation.modes {what}: name at least one, e.g. always-on"
    if "wake-word" in modes and not (settings.wake.words or settings.wake.models):
        yield (
            ("activation.modes", "wake.words", "wake.models"),
            "activation.modes names wake-word, but wake.words and wake.models are empty: name a word",
        )
    talking = [button for button in buttons(panel) if has_action(button, "talk")]
    by_button = [mode for mode in modes if mode in ("push-to-talk", "toggle")]
    if by_button and panel.backend != "mock" and (not talking or panel.backend == "none"):
        remedy = "set panel.button_pin" if not talking else "panel.backend is none"
        yield names, f"activation.modes names {by_button[0]}, which needs a button: {remedy}"
    if "push-to-talk" in modes:
        for button in talking:
            if button.gestures - {"press"} and "talk" in [table.get("press") for table in button.actions.values()]:
                yield (
                    ("activation.modes", "panel.buttons"),
                    f"panel.buttons.{button.name}.press is talk, and with push-to-talk the whole press is speech: "
                    'write hold = "talk", or give the other gestures another button',
                )
    if "presence" in modes and panel.presence_pin < 0 and panel.backend != "mock":
        yield ("activation.modes", "panel.presence_pin"), "activation.modes names presence: set panel.presence_pin"


LANGUAGE_KEYS = ("id", "first_message", "prompt", "voice_id")


def _languages(settings: Settings) -> Iterator[Contradiction]:
    agent = settings.agent
    for language, table in agent.languages.items():
        where = f"agent.languages.{language}"
        if not isinstance(table, Mapping):
            yield ("agent.languages",), f'{where} must be a table, e.g. {{ first_message = "Hallo" }}'
            continue
        for key, value in table.items():
            if key not in LANGUAGE_KEYS:
                yield ("agent.languages",), f"{where}.{key}: there is no such setting; {', '.join(LANGUAGE_KEYS)} are"
            elif not isinstance(value, str):
                yield ("agent.languages",), f"{where}.{key} must be text"
    if agent.languages and agent.language and agent.language not in agent.languages:
        yield (
            ("agent.language", "agent.languages"),
            f"agent.language is not among agent.languages ({', '.join(agent.languages)}): add it there",
        )
    for button in buttons(settings.panel):
        if has_action(button, "language_next") and len(agent.languages) < 2:
            yield (
                ("panel.buttons", "agent.languages"),
                f"panel.buttons.{button.name} changes the language, and agent.languages does not name two",
            )
