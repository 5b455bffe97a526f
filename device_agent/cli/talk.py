"""Open a conversation as a press of the button does; with an option end it, or silence the agent."""

from __future__ import annotations

import argparse

from device_agent.cli.remote import add_socket_argument, device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_socket_argument(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--end", dest="do", action="store_const", const="end", help="end the conversation")
    instead.add_argument("--stop", dest="do", action="store_const", const="stop", help="silence the agent")
    parser.set_defaults(do="talk")


def run(args: argparse.Namespace) -> int:
    with device(args) as client:
        client.ask(args.do)
    return 0
