"""What the commands share that talk with a running device."""

from __future__ import annotations

import argparse
from pathlib import Path

from device_agent.control.client import Client


def add_socket_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--socket PATH`."""
    parser.add_argument("--socket", type=Path, metavar="PATH", help="the device's control socket, if not the usual one")


def device(args: argparse.Namespace) -> Client:
    """The running device. Raises `ServiceError` if there is none."""
    return Client(args.socket)
