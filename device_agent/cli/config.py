"""Check the configuration, or show the settings that hold."""

from __future__ import annotations

import argparse

from device_agent.cli.options import add_settings_arguments, load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands `check` and `show`."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    check = actions.add_parser("check", help="name every mistake (exit code 78), or say ok")
    add_settings_arguments(check)
    show = actions.add_parser("show", help="print the settings that hold, as TOML")
    add_settings_arguments(show)
    show.add_argument("--origin", action="store_true", help="say for each setting where it comes from")
    show.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints to stdout; raises `ConfigError` with every mistake."""
    return _check(args) if args.action == "check" else _show(args)


def _check(args: argparse.Namespace) -> int:
    loaded = load_settings(args)
    print("ok")
    for file in loaded.files:
        print(f"read {file}")
    if not loaded.settings.agent.id:
        print("agent.id is not set yet: `device-agent setup` asks for it")
    return 0


def _show(args: argparse.Namespace) -> int:
    from device_agent.config.render import as_json, effective

    loaded = load_settings(args)
    origins = loaded.origins if args.origin else None
    print(as_json(loaded.settings, origins) if args.json else effective(loaded.settings, origins).rstrip())
    return 0
