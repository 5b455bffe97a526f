"""Check the configuration, show the settings that hold, or have the running device read them again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from device_agent.cli.options import add_settings_arguments, load_settings, settings_paths
from device_agent.cli.remote import add_socket_argument, device
from device_agent.errors import ConfigError

if TYPE_CHECKING:
    from device_agent.config.load import Loaded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands `check`, `show` and `reload`."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    check = actions.add_parser("check", help="name every mistake (exit code 78), or say ok")
    add_settings_arguments(check)
    check.add_argument("--elsewhere", action="store_true", help="it is meant for another machine: judge the files only")
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
    if not args.elsewhere and (wrong := _missing_here(loaded, args)):
        raise ConfigError(*wrong)
    print("ok")
    for file in loaded.files:
        print(f"read {file}")
    if not loaded.settings.agent.id:
        print("agent.id is not set yet: `device-agent setup` asks for it")
    return 0


def _missing_here(loaded: Loaded, args: argparse.Namespace) -> list[str]:
    """What the settings ask for and this machine does not have: pins, the SPI bus, rights, parts of the program."""
    from device_agent.doctor.check import Status, examine
    from device_agent.doctor.host import Case, Host
    from device_agent.doctor.table import CHECKS

    checks = [check for check in CHECKS if check.group == "gpio" or check.id in ("config.extras", "audio.echo")]
    found = examine(checks, Case(Host(paths=settings_paths(args)), loaded))
    return [f"{r.finding.evidence}: {r.finding.remedy}" for r in found if r.status is Status.FAILED]


def _show(args: argparse.Namespace) -> int:
    from device_agent.config.render import as_json, effective

    loaded = load_settings(args)
    origins = loaded.origins if args.origin else None
    print(as_json(loaded.settings, origins) if args.json else effective(loaded.settings, origins).rstrip())
    return 0
