"""Check the configuration, show the settings that hold, or have the running device read them again."""

from __future__ import annotations

import argparse

from device_agent.cli.options import add_settings_arguments, load_settings
from device_agent.cli.remote import add_socket_argument, device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands `check`, `show` and `reload`."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    check = actions.add_parser("check", help="name every mistake (exit code 78), or say ok")
    add_settings_arguments(check)
    reload = actions.add_parser("reload", help="the running device reads it again: says what waits for a restart")
    add_socket_argument(reload)
    show = actions.add_parser("show", help="print the settings that hold, as TOML")
    add_settings_arguments(show)
    show.add_argument("--origin", action="store_true", help="say for each setting where it comes from")
    show.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints to stdout; raises `ConfigError` with every mistake."""
    return {"check": _check, "show": _show, "reload": _reload}[args.action](args)


def _reload(args: argparse.Namespace) -> int:
    with device(args) as client:
        done = client.ask("reload")
    print(f"holds now: {', '.join(done['live']) or 'nothing has changed that may change while it runs'}")
    if done["restart"]:
        print(f"holds after a restart (systemctl restart device-agent): {', '.join(done['restart'])}")
    return 0


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
