"""Settings as TOML: the annotated defaults for a reader, and the effective settings.

`python -m device_agent.config.render` prints config/device-agent.toml.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from device_agent.config.options import Option, options, sections
from device_agent.config.schema import Settings

_HEAD = """\
# Configuration of device-agent. Each setting stands here with its default, commented out.
#
# Copy what you change to /etc/device-agent/config.toml, to a file in /etc/device-agent/conf.d/ or to
# ~/.config/device-agent/config.toml. Later ones win, then the environment (DEVICE_AGENT_AUDIO_ECHO=off), then
# --set audio.echo=off. A first line profile = "kiosk" (or another one of config/profiles/) begins with that
# profile's settings in place of the defaults.
# `device-agent config check` finds mistakes, `device-agent config show --origin` says what
# holds and why. Keys and tokens do not belong here: `device-agent setup` stores them.
"""
_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def annotated() -> str:
    """Every setting with its help, limits and default: the text of config/device-agent.toml."""
    lines = [_HEAD]
    for section, cls in sections().items():
        lines += [*_comment(cls.__doc__ or ""), f"[{section}]"]
        for option in options().values():
            if option.section == section:
                lines += ["", *_comment(f"{option.help} {_limits(option)}"), f"#{option.key} = {_example(option)}"]
        lines.append("\n")
    return "\n".join(lines).rstrip() + "\n"


def effective(settings: Settings, origins: Mapping[str, str] | None = None) -> str:
    """The settings as TOML, each followed by its origin where `origins` are given."""
    lines = []
    for section in sections():
        lines.append(f"[{section}]")
        for name, value in values(settings).items():
            if name.startswith(f"{section}.") and value is not None:
                origin = f"  # {origins[name]}" if origins else ""
                lines.append(f"{name.partition('.')[2]} = {to_toml(value)}{origin}")
        lines.append("")
    return "\n".join(lines)


def values(settings: Settings) -> dict[str, Any]:
    """Every setting's value by its dotted name."""
    return {name: getattr(getattr(settings, option.section), option.key) for name, option in options().items()}


def to_toml(value: Any) -> str:
    """A value in one line of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_escaped(letter) for letter in value) + '"'
    if isinstance(value, Mapping):
        pairs = [f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    return repr(value)


def _escaped(letter: str) -> str:
    if letter < " " or letter == "\x7f":
        return _ESCAPES.get(ord(letter), f"\\u{ord(letter):04x}")
    return _ESCAPES.get(ord(letter), letter)


def _example(option: Option) -> str:
    return '""' if option.default is None else to_toml(option.default)


def _limits(option: Option) -> str:
    if option.default is None:
        return "Not set by default."
    if option.range is not None:
        return f"From {option.range[0]} to {option.range[1]}."
    if option.choices:
        return f"{'Any' if option.shape is tuple else 'One'} of: {', '.join(map(str, option.choices))}."
    return ""


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, 110))


def as_json(settings: Settings, origins: Mapping[str, str] | None = None) -> str:
    """The settings by dotted name; with `origins`, each as `{"value": …, "origin": …}`."""
    plain = values(settings)
    shown = {n: {"value": v, "origin": origins[n]} for n, v in plain.items()} if origins else plain
    return json.dumps(shown, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(annotated())
