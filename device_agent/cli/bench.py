"""`device-agent bench`: the tools of the work bench."""

from __future__ import annotations

import argparse
from pathlib import Path

from device_agent.simulator import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tools = parser.add_subparsers(dest="bench", required=True, metavar="TOOL")
    simulate = tools.add_parser(
        "simulate",
        help="a local ElevenLabs Agents server",
        description="Serves ElevenLabs' Agents protocol on loopback, and witnesses what its clients do.",
    )
    options.add_arguments(simulate)
    tools.add_parser(
        "cards",
        help="the sound cards, and what to write for each in audio.input and audio.output",
        description="Lists the sound cards with a match that stays right when they are renumbered.",
    )
    replay = tools.add_parser(
        "replay",
        help="what the flight recorder saw, once more",
        description="Runs a dump of the flight recorder through the core, and says where it decides differently.",
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="flight-….jsonl from the runtime directory")
    replay.add_argument("--events", action="store_true", help="show every fact, not only what changed")


def run(args: argparse.Namespace) -> int:
    """Runs the chosen tool; returns the exit code."""
    if args.bench == "cards":
        from device_agent.bench import cards

        return cards.run()
    if args.bench == "replay":
        from device_agent.bench import replay

        return replay.run(args.file, args.events)
    from device_agent.simulator import program  # loads websockets: only when it is wanted

    return program.run(options.Options.of(args))
