"""Checks across settings: what each of them alone cannot show."""

from __future__ import annotations

from collections.abc import Iterator

from device_agent.config.cards import parse
from device_agent.config.endpoints import address_problem
from device_agent.config.schema import Settings

FRAME_MS = 20
Contradiction = tuple[tuple[str, ...], str]
"""The settings that take part, and the problem in one line."""


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Every problem between settings."""
    yield from _server(settings)
    yield from _cards(settings)
    yield from _gate(settings)
    yield from _panel(settings)
    yield from _volume(settings)


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
    if audio.volume > audio.volume_max:
        yield (
            ("audio.volume", "audio.volume_max"),
            f"audio.volume ({audio.volume}) exceeds audio.volume_max ({audio.volume_max}): make one of them fit",
        )


def _panel(settings: Settings) -> Iterator[Contradiction]:
    panel = settings.panel
    pins = {"button_pin": panel.button_pin, "led_pin": panel.led_pin, "mute_pin": panel.mute_pin}
    owners: dict[int, str] = {}
    for name, pin in pins.items():
        if pin in owners:
            yield (
                (f"panel.{owners[pin]}", f"panel.{name}"),
                f"panel.{owners[pin]} and panel.{name} are both {pin}: each needs a pin of its own",
            )
        elif pin >= 0:
            owners[pin] = name
    modes = settings.activation.modes
    if not modes:
        yield ("activation.modes",), "activation.modes is empty: name at least one, e.g. always-on"
    by_button = [mode for mode in modes if mode != "always-on"]
    if by_button and panel.backend != "mock" and (panel.button_pin < 0 or panel.backend == "none"):
        remedy = "set panel.button_pin" if panel.button_pin < 0 else "panel.backend is none"
        yield (
            ("activation.modes", "panel.button_pin", "panel.backend"),
            f"activation.modes names {by_button[0]}, which needs a button: {remedy}",
        )
