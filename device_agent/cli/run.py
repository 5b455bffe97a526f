"""Talk with the agent, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.cli.footing import Footing, find_footing
from device_agent.cli.options import add_settings_arguments, load_settings
from device_agent.config.last_good import remember
from device_agent.config.schema import Settings, Tools
from device_agent.errors import ConfigError
from device_agent.version import __version__

if TYPE_CHECKING:
    from device_agent.device import Device
    from device_agent.dispatcher import Observer
    from device_agent.supervisor import Supervisor

log = logging.getLogger(__name__)

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
    footing = find_footing(args, os.environ)
    if not os.environ.get("NOTIFY_SOCKET"):
        # A person at a terminal wants to know at once; a service stands with its light on until it is mended.
        from device_agent.link.address import check_access

        check_access(footing.settings, footing.secrets)
    sys.setswitchinterval(0.001)  # a busy thread must not make an audio thread late …
    with suppress(OSError):  # … nor a busy process, where we have the right to say so (as the systemd unit does)
        os.setpriority(os.PRIO_PROCESS, 0, min(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    return _run(footing, args)


def _run(footing: Footing, args: argparse.Namespace) -> int:
    from device_agent.cli.reloading import Reloading
    from device_agent.observers import LogObserver, Timeline
    from device_agent.supervisor import LOOK_S, Inbox, Line, Supervisor
    from device_agent.system.identity import device_id
    from device_agent.system.log import LineWriter, configure, is_journal
    from device_agent.system.notify import Notifier

    settings, inbox = footing.settings, Inbox()

    def tell(text: str) -> None:
        inbox.put(Line(text))

    output = sys.stdout.fileno()
    style = "journal" if settings.log.format == "auto" and is_journal(output, os.environ) else settings.log.format
    configure("warning" if args.timeline else settings.log.level, tell, style)
    notifier = Notifier(os.environ)
    look_s = min(LOOK_S, (notifier.watchdog_interval() or 4 * LOOK_S) / 4)  # three pings may be late
    supervisor = Supervisor(inbox, LineWriter(output).write, notifier, look_s=look_s)
    observer = Timeline(tell) if args.timeline else LogObserver(settings.log.transcripts)
    device, footing = _device(footing, args, supervisor, observer)
    device.problems = "; ".join((*footing.mistakes, *footing.problems, *footing.unread))
    listening = observer if isinstance(observer, LogObserver) else None
    device.reload = Reloading(device, settings, lambda: load_settings(args).settings, listening, footing.unread)
    log.info("device.start id=%s version=%s", device_id() or "none", __version__)
    _complain(footing)
    if settings.rescue.reboot_after_h:
        _climb(settings, device, supervisor)
    if footing.mistakes:
        _watch(footing, supervisor)
    elif footing.good and (place := footing.place):
        supervisor.on_ready = lambda: remember(place, settings)
    return supervisor.run()


def _device(
    footing: Footing, args: argparse.Namespace, supervisor: Supervisor, observer: Observer
) -> tuple[Device, Footing]:
    """The device. A service whose client tools cannot be loaded runs without any."""
    from device_agent.control.client import socket_path
    from device_agent.device import Device
    from device_agent.flight import directory
    from device_agent.system.identity import identified
    from device_agent.system.state_file import StateFile

    def build(settings: Settings) -> Device:
        told = replace(settings, agent=identified(settings.agent))
        return Device(
            told, footing.secrets, supervisor, [observer], args.record_wire, args.record_played,
            state=StateFile.standard(os.environ), flight=directory(os.environ),
            control=socket_path(os.environ) if settings.control.socket == "auto" else None,
            mistakes="; ".join(footing.mistakes),
        )  # fmt: skip

    try:
        return build(footing.settings), footing
    except ConfigError as error:
        if footing.place is None:
            raise
        without = replace(footing.settings, tools=Tools())
        return build(without), replace(footing, settings=without, unread=(*footing.unread, *error.problems))


def _complain(footing: Footing) -> None:
    kinds = ("runs-on=nothing", footing.mistakes), ("runs-on=last-good", footing.problems)
    for how, problems in (*kinds, ("runs-without", footing.unread)):
        for problem in problems:
            log.error("config.error %s problem=%r", how, problem)


def _climb(settings: Settings, device: Device, supervisor: Supervisor) -> None:
    """The last rung, where there is a directory that outlives this process and not the machine."""
    from device_agent.core.indicator import LOST
    from device_agent.core.tables import Turn
    from device_agent.flight import directory
    from device_agent.system.last_rung import Health, LastRung

    place = directory(os.environ)
    if place is None:
        return
    rung = LastRung(settings.rescue.reboot_after_h, place, device.state)

    def look() -> None:
        seen = device.snapshot
        rung.look(Health(seen.indicator not in LOST, seen.turn is not Turn.IDLE))

    _also(supervisor, look)


def _also(supervisor: Supervisor, look: Callable[[], None]) -> None:
    first = supervisor.look

    def both() -> None:
        first()
        look()

    supervisor.look = both


def _watch(footing: Footing, supervisor: Supervisor) -> None:
    """Nothing is left to lose: as soon as somebody changes a file the service starts again, and looks at it anew."""
    from device_agent.supervisor import EXIT_AGAIN

    def look() -> None:
        if footing.changed():
            log.info("config.changed: starting again")
            supervisor.leave(EXIT_AGAIN)

    _also(supervisor, look)
