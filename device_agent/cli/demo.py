"""Hold a conversation without a key, a microphone or a Pi, and hear it in conversation.wav."""

from __future__ import annotations

import argparse
from pathlib import Path

from device_agent.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wav", type=Path, metavar="FILE", help="the visitor says this recording, in place of the script"
    )
    parser.add_argument("--mic", action="store_true", help="an echo call through your own microphone and loudspeaker")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the echo call (default: 60)")
    parser.add_argument(
        "--output", type=Path, default=Path("conversation.wav"), metavar="FILE", help="where to write the recording"
    )


def run(args: argparse.Namespace) -> int:
    from device_agent.bench.demo import converse, echo_call
    from device_agent.bench.visitor import SCRIPT, Line, read_wav

    def say(text: str) -> None:
        print(text, flush=True)

    lines = (Line(args.wav.name, pcm=read_wav(args.wav)), Line("Goodbye.")) if args.wav else SCRIPT
    _check_writable(args.output)
    if args.mic:
        return echo_call(args.output, args.seconds, say)
    return converse(lines, args.output, say)


def _check_writable(output: Path) -> None:
    """Before the conversation, not after it. What is there stays until it is replaced."""
    try:
        with output.open("ab"):
            pass
    except OSError as error:
        text = f"{output} cannot be written ({error.strerror}): choose another place with --output"
        raise UsageError(text) from error
