"""Mute or unmute the microphone; without a word the other way round. A hardware switch that mutes wins."""

from __future__ import annotations

import argparse

from device_agent.cli.remote import add_socket_argument, device

WORDS = {"on": True, "off": False, "toggle": None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_socket_argument(parser)
    parser.add_argument("muted", nargs="?", choices=tuple(WORDS), default="toggle")


def run(args: argparse.Namespace) -> int:
    with device(args) as client:
        client.ask("mute", muted=WORDS[args.muted])
    return 0
