"""Which part is broken, and what to do. The exit code is 0 if nothing is, 1 if a person must act.

One conversation is opened with the agent and closed before a word. `report` writes a bundle to send to somebody who
helps: no key, no address, nothing of what was said.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from device_agent.cli.options import add_settings_arguments, settings_paths
from device_agent.errors import UsageError

if TYPE_CHECKING:
    from device_agent.doctor.host import Host

REPORT = "device-agent-report.tar.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds doctor's options."""
    add_settings_arguments(parser)
    parser.add_argument("action", nargs="?", metavar="report|GROUP", help="write a bundle; or look at one group only")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--all", action="store_true", help="show what is ok, too")
    parser.add_argument("--fix", action="store_true", help="do what can be done without harm, then look again")
    parser.add_argument("--as-service", action="store_true", help="as the service's user, in the unit's own sandbox")
    parser.add_argument("--output", type=Path, default=Path(REPORT), metavar="FILE", help=f"the bundle ({REPORT})")


def run(args: argparse.Namespace) -> int:
    """Prints to stdout."""
    from device_agent.doctor.check import examine
    from device_agent.doctor.host import Case, Host
    from device_agent.doctor.report import as_json, broken, bundle, lines
    from device_agent.doctor.table import CHECKS

    host = Host(paths=settings_paths(args), sets=args.sets)
    if args.as_service:
        _as_service(host, args)
    groups = sorted({check.group for check in CHECKS})
    if args.action not in (None, "report", *groups):
        raise UsageError(f"no group {args.action!r}; there are {', '.join(groups)}, and report")
    # Of one group, with the configuration that all others rest on.
    wanted = groups if args.action in (None, "report") else (args.action, "config")
    chosen = [check for check in CHECKS if check.group in wanted]
    case = Case(host)
    results = list(examine(chosen, case))
    if args.fix:
        for result in results:
            if result.finding.fix:
                done = host.run(result.finding.fix)
                print(f"{' '.join(result.finding.fix)}: {'done' if not done.code else done.text}", file=sys.stderr)
        case = Case(host)
        results = list(examine(chosen, case))
    if args.action == "report":
        try:
            bundle(results, case, args.output)
        except FileExistsError:
            raise UsageError(f"{args.output} exists already: choose another one with --output") from None
        except OSError as error:
            raise UsageError(
                f"{args.output} cannot be written ({error.strerror}): choose another one with --output"
            ) from None
        print(f"{args.output} is written: look into it before you send it")
    elif args.json:
        print(as_json(results))
    else:
        print("\n".join(lines(results, args.all)))
    return int(broken(results))


def _as_service(host: Host, args: argparse.Namespace) -> NoReturn:
    """In place of this process. Raises `UsageError` for what the sandbox does not allow or would not see."""
    from device_agent.doctor.sandbox import command

    if args.config is not None or args.sets or args.fix or args.action == "report":
        raise UsageError("--as-service takes the service's own configuration, and changes and writes nothing: "
                         "leave out --config, --set, --fix and report")  # fmt: skip
    given = [flag for flag, on in (("--json", args.json), ("--all", args.all)) if on]
    words = command(host, [*([args.action] if args.action else []), *given])
    sys.stdout.flush()
    os.execvp(words[0], words)
