"""Hold a conversation without a key, a microphone or a Pi, and hear it in conversation.wav."""

from __future__ import annotations

import argparse
from pathlib import Path


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

    if args.mic:
        return echo_call(args.output, args.seconds, say)
    lines = (Line(args.wav.name, pcm=read_wav(args.wav)), Line("Goodbye.")) if args.wav else SCRIPT
    return converse(lines, args.output, say)
