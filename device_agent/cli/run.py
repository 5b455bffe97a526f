"""Talk with the agent, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from device_agent.cli.options import add_settings_arguments, load_settings, settings_paths
from device_agent.config.last_good import FILE_NAME, recall, remember
from device_agent.config.load import Loaded
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, read_secrets
from device_agent.errors import ConfigError, DeviceAgentError

LOOK_AGAIN_S = 2.0
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
    problems: Sequence[str] = ()
    try:
        settings = load_settings(args).settings
    except ConfigError as error:
        kept = last_good(os.environ)
        if kept is None:
            raise
        known = recall(kept)
        settings, problems = (known, error.problems) if known else (stand(error, lambda: load_settings(args)), ())
    unread: Sequence[str] = ()
    try:
        secrets = read_secrets(settings, settings_paths(args), os.environ)
    except DeviceAgentError as error:
        if last_good(os.environ) is None:
            raise
        secrets, unread = Secrets(), str(error).splitlines()
    if not os.environ.get("NOTIFY_SOCKET"):
        # A person at a terminal wants to know at once; a service stands with its light on until it is mended.
        from device_agent.link.address import check_access

        check_access(settings, secrets)
    sys.setswitchinterval(0.001)  # a busy thread must not make an audio thread late …
    with suppress(OSError):  # … nor a busy process, where we have the right to say so (as the systemd unit does)
        os.setpriority(os.PRIO_PROCESS, 0, min(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    return _run(settings, secrets, args, problems, unread)


def last_good(environ: Mapping[str, str]) -> Path | None:
    """Where a service keeps its last good configuration; None at a terminal, where a person sees what is wrong."""
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(directory, FILE_NAME) if directory and environ.get("NOTIFY_SOCKET") else None


def stand(error: ConfigError, reload: Callable[[], Loaded], pause_s: float = LOOK_AGAIN_S) -> Settings:
    """No configuration at all to start on: say so, stay up, and look again until somebody has mended it."""
    from device_agent.system.notify import Notifier

    notifier = Notifier(os.environ)
    notifier.ready()
    waiting = threading.Event()
    while True:
        notifier.status(f"config-error: {'; '.join(error.problems)}")
        notifier.watchdog()
        for problem in error.problems:
            print(f"<3>config.error {problem}", flush=True)
        told = error.problems
        while error.problems == told:
            waiting.wait(pause_s)
            notifier.watchdog()
            try:
                return reload().settings
            except ConfigError as again:
                error = again


def _run(
    settings: Settings, secrets: Secrets, args: argparse.Namespace, problems: Sequence[str], unread: Sequence[str]
) -> int:
    from device_agent.cli.reloading import Reloading
    from device_agent.control.client import socket_path
    from device_agent.device import Device
    from device_agent.flight import directory
    from device_agent.observers import LogObserver, Timeline
    from device_agent.supervisor import LOOK_S, Inbox, Line, Supervisor
    from device_agent.system.log import LineWriter, configure, is_journal
    from device_agent.system.notify import Notifier
    from device_agent.system.state_file import StateFile

    inbox = Inbox()

    def tell(text: str) -> None:
        inbox.put(Line(text))

    output = sys.stdout.fileno()
    style = "journal" if settings.log.format == "auto" and is_journal(output, os.environ) else settings.log.format
    configure("warning" if args.timeline else settings.log.level, tell, style)
    notifier = Notifier(os.environ)
    look_s = min(LOOK_S, (notifier.watchdog_interval() or 4 * LOOK_S) / 4)  # three pings may be late
    supervisor = Supervisor(inbox, LineWriter(output).write, notifier, look_s=look_s)
    observer = Timeline(tell) if args.timeline else LogObserver(settings.log.transcripts)
    state = StateFile.standard(os.environ)
    control = socket_path(os.environ) if settings.control.socket == "auto" else None
    kept = args.record_wire, args.record_played
    flight = directory(os.environ)
    device = Device(settings, secrets, supervisor, [observer], *kept, state=state, flight=flight, control=control)
    device.problems = "; ".join((*problems, *unread))
    listening = observer if isinstance(observer, LogObserver) else None
    device.reload = Reloading(device, settings, lambda: load_settings(args).settings, listening, unread)
    log = logging.getLogger(__name__)
    for problem in problems:
        log.error("config.error runs-on=last-good problem=%r", problem)
    for problem in unread:
        log.error("config.error runs-without=secrets problem=%r", problem)
    place = last_good(os.environ)
    if place is not None and not problems and not unread:
        supervisor.on_ready = lambda: remember(place, settings)
    return supervisor.run()
