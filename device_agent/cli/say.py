"""Say TEXT to the agent as if the user had; opens a conversation if there is none."""

from __future__ import annotations

import argparse

from device_agent.cli.remote import add_socket_argument, device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_socket_argument(parser)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--context", action="store_true", help="tell the agent in passing; it does not answer")


def run(args: argparse.Namespace) -> int:
    with device(args) as client:
        client.ask("context" if args.context else "say", text=" ".join(args.text))
    return 0
