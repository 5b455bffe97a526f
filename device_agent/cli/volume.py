"""Show the volume, or set it: a number from 0 to 100, or +10, or -10."""

from __future__ import annotations

import argparse
import re

from device_agent.cli.remote import add_socket_argument, device
from device_agent.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_socket_argument(parser)
    parser.add_argument("volume", nargs="?", metavar="N", help="0 … 100, or +N, or -N")


def run(args: argparse.Namespace) -> int:
    with device(args) as client:
        if args.volume is None:
            print(client.ask("status")["volume"])
        elif not re.fullmatch(r"[+-]?\d{1,3}", args.volume):
            raise UsageError(f"volume must be 0 … 100, +N or -N, not {args.volume!r}")
        else:
            field = "change" if args.volume[0] in "+-" else "level"
            client.ask("volume", **{field: int(args.volume)})
    return 0
