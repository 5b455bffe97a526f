"""`device-agent bench`: the tools of the work bench."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from device_agent.cli.options import add_settings_arguments, load_settings, settings_paths
from device_agent.config.secrets import read_secrets
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
    meter = tools.add_parser(
        "meter",
        help="what the microphone hears, live: level, noise floor, gate, echo, lost samples",
        description="Shows what the device hears, without any network; plain lines where the output is no terminal.",
    )
    add_settings_arguments(meter)
    meter.add_argument("--seconds", type=_seconds, default=0.0, help="end after so long (default: at Ctrl-C)")
    record = tools.add_parser(
        "record",
        help="both sides of a conversation in two WAV files",
        description="Talks as `device-agent run` does, and keeps both sides on this machine. It says so, and sounds.",
    )
    add_settings_arguments(record)
    record.add_argument("--seconds", type=_seconds, required=True, help="for how long")
    record.add_argument("--output", type=Path, default=Path(), metavar="DIRECTORY", help="where (default: here)")
    drill = tools.add_parser(
        "drill",
        help="try the recoveries here: what happens when the net, the server, a card … fails, and for how long",
        description="Breaks one thing after another and shows what the device does, until it is well again. Light and "
        "sound are this device's own; the far end is a simulator. Exit code 1: something was not well again in time.",
    )
    add_settings_arguments(drill)
    names = ("net", "server", "mic", "speaker", "auth", "clock", "hang", "tool", "all")
    drill.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    drill.add_argument("--virtual", action="store_true", help="with virtual sound cards, though there are real ones")
    drill.add_argument("--json", action="store_true", help="one JSON list")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= 3600:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, and 3600 at most, not {text!r}")


def _meter(args: argparse.Namespace) -> int:
    from device_agent.bench import meter

    def write(text: str) -> None:
        print(text, end="", flush=True)

    with suppress(KeyboardInterrupt):
        meter.run(load_settings(args).settings, args.seconds, write, sys.stdout.isatty())
    return 0


def _record(args: argparse.Namespace) -> int:
    from device_agent.bench import record
    from device_agent.link.address import check_access

    settings = load_settings(args).settings
    secrets = read_secrets(settings, settings_paths(args), os.environ)
    check_access(settings, secrets)
    return record.run(settings, secrets, args.seconds, args.output, lambda text: print(text, flush=True))


def _drill(args: argparse.Namespace) -> int:
    from device_agent.bench import drill

    def say(text: str) -> None:
        print(text, flush=True)

    settings = load_settings(args).settings
    return drill.run(settings, args.name, args.virtual, args.json, sys.stdin.isatty() and not args.json, say)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen tool; returns the exit code."""
    if args.bench in ("meter", "record"):
        return _meter(args) if args.bench == "meter" else _record(args)
    if args.bench == "drill":
        return _drill(args)
    if args.bench == "cards":
        from device_agent.bench import cards

        return cards.run()
    if args.bench == "replay":
        from device_agent.bench import replay

        return replay.run(args.file, args.events)
    from device_agent.simulator import program  # loads websockets: only when it is wanted

    return program.run(options.Options.of(args))
