"""What the device does, and what is wrong. The exit code is 0, or 1 if a person must act."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from device_agent.cli.remote import add_socket_argument, device

WRONG = {
    "configuration": "configuration",
    "fault": "service",
    "microphone": "microphone",
    "loudspeaker": "loudspeaker",
    "microphone_check": "microphone",
    "loudspeaker_check": "loudspeaker",
    "panel": "pins",
    "buttons": "buttons",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_socket_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--watch", action="store_true", help="a line for each change, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    with device(args) as client:
        if args.watch:
            for news in client.news():
                if news.pop("event") == "state":
                    print(json.dumps(news) if args.json else short(news), flush=True)
            return 0
        status = client.ask("status")
    print(json.dumps(status) if args.json else "\n".join(lines(status)))
    return int(any(status[key] for key in WRONG))


def short(status: Mapping[str, Any]) -> str:
    """One line."""
    wrong = "; ".join(status[key] for key in WRONG if status[key])
    return f"{status['state']}, volume {status['volume']}{', muted' * status['muted']}{': ' + wrong if wrong else ''}"


def lines(status: Mapping[str, Any]) -> Iterator[str]:
    """What holds, a line each; what is wrong last."""
    hours, minutes = divmod(status["uptime_s"] // 60, 60)
    yield f"state        {status['state']} (link {status['link']}, turn {status['turn']})"
    yield f"running      {hours} h {minutes} min, version {status['version']}"
    if status["device_id"]:
        yield f"device       {status['device_id']}"
    for key in ("microphone", "loudspeaker"):
        if status[f"{key}_card"]:
            yield f"{key:12} {status[f'{key}_card']}"
    yield f"volume       {status['volume']}{', muted' * status['muted']}"
    yield f"connected    {status['today_s'] / 60:.0f} min today, {status['month_s'] / 60:.0f} min this month"
    for key in ("echo", "language", "closed", "lost", "advice"):
        if status[key]:
            yield f"{key:12} {status[key]}"
    for key, name in WRONG.items():
        if status[key]:
            yield f"WRONG        {name}: {status[key]}"
