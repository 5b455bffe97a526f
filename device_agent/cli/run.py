"""Talk with the agent, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from device_agent.cli.options import add_settings_arguments, load_settings, settings_paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, read_secrets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_arguments(parser)
    parser.add_argument("--timeline", action="store_true", help="tell what happens as a person would")
    parser.add_argument(
        "--record-wire", type=Path, metavar="FILE", help="write types, sizes and times of all messages as JSON lines"
    )


def run(args: argparse.Namespace) -> int:
    loaded = load_settings(args)
    secrets = read_secrets(loaded.settings, settings_paths(args), os.environ)
    sys.setswitchinterval(0.001)  # a busy thread must not make an audio thread late
    return _device(loaded.settings, secrets, args).run()


def _device(settings: Settings, secrets: Secrets, args: argparse.Namespace) -> Any:
    from device_agent.observers import LogObserver, Timeline
    from device_agent.supervisor import Inbox, Line, Supervisor
    from device_agent.system.log import LineWriter, configure
    from device_agent.system.notify import Notifier

    inbox = Inbox()
    configure("warning" if args.timeline else settings.log.level, lambda text: inbox.put(Line(text)))
    watch = Timeline(lambda text: inbox.put(Line(text))) if args.timeline else LogObserver(settings.log.transcripts)
    return Supervisor(
        settings,
        secrets,
        inbox,
        LineWriter(sys.stdout.fileno()).write,
        (watch,),
        Notifier(os.environ),
        args.record_wire,
    )
