"""Talk with the agent, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from device_agent.cli.options import add_settings_arguments, load_settings, settings_paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, read_secrets

NICE = -10  # as sound servers do: a late period is heard, a late build is not


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_arguments(parser)
    parser.add_argument("--timeline", action="store_true", help="tell what happens as a person would")
    parser.add_argument(
        "--record-played", type=Path, metavar="FILE", help="keep what is handed to the sound card (for the echo call)"
    )
    parser.add_argument(
        "--record-wire", type=Path, metavar="FILE", help="write types, sizes and times of all messages as JSON lines"
    )


def run(args: argparse.Namespace) -> int:
    loaded = load_settings(args)
    secrets = read_secrets(loaded.settings, settings_paths(args), os.environ)
    if not os.environ.get("NOTIFY_SOCKET"):
        # A person at a terminal wants to know at once; a service stands with its light on until it is mended.
        from device_agent.link.address import check_access

        check_access(loaded.settings, secrets)
    sys.setswitchinterval(0.001)  # a busy thread must not make an audio thread late …
    with suppress(OSError):  # … nor a busy process, where we have the right to say so (as the systemd unit does)
        os.setpriority(os.PRIO_PROCESS, 0, min(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    return _run(loaded.settings, secrets, args)


def _run(settings: Settings, secrets: Secrets, args: argparse.Namespace) -> int:
    from device_agent.control.client import socket_path
    from device_agent.device import Device
    from device_agent.flight import directory
    from device_agent.observers import LogObserver, Timeline
    from device_agent.supervisor import LOOK_S, Inbox, Line, Supervisor
    from device_agent.system.log import LineWriter, configure
    from device_agent.system.notify import Notifier
    from device_agent.system.state_file import StateFile

    inbox = Inbox()

    def tell(text: str) -> None:
        inbox.put(Line(text))

    configure("warning" if args.timeline else settings.log.level, tell)
    notifier = Notifier(os.environ)
    look_s = min(LOOK_S, (notifier.watchdog_interval() or 4 * LOOK_S) / 4)  # three pings may be late
    supervisor = Supervisor(inbox, LineWriter(sys.stdout.fileno()).write, notifier, look_s=look_s)
    observer = Timeline(tell) if args.timeline else LogObserver(settings.log.transcripts)
    state = StateFile.standard(os.environ)
    control = socket_path(os.environ) if settings.control.socket == "auto" else None
    kept = args.record_wire, args.record_played
    flight = directory(os.environ)
    Device(settings, secrets, supervisor, [observer], *kept, state=state, flight=flight, control=control)
    return supervisor.run()
