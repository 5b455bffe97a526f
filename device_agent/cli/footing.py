"""What a start stands on: the present configuration, the last good one, or none at all.

At a terminal a person sees what is wrong, and the program ends. A service never stays dark: it runs on the last
configuration that got ready, and with none it shows and says what is wrong, and looks whether somebody mends it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from device_agent.cli.options import load_settings, settings_paths
from device_agent.config.last_good import FILE_NAME, recall
from device_agent.config.load import fingerprint, salvage
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, read_secrets
from device_agent.errors import ConfigError, DeviceAgentError
from device_agent.records import record


@record
class Footing:
    """`mistakes`: there is no configuration to run on. `problems`: it runs on the last good one. `unread`: without."""

    settings: Settings
    changed: Callable[[], bool]
    """Whether a file of the configuration is another now."""
    place: Path | None
    """Where a service keeps its last good configuration."""
    secrets: Secrets = Secrets()
    mistakes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether this is worth to be kept, once the device is ready."""
        return not (self.mistakes or self.problems or self.unread)


def find_footing(args: argparse.Namespace, environ: Mapping[str, str]) -> Footing:
    """Raises `DeviceAgentError` at a terminal."""
    place, paths = last_good(environ), settings_paths(args)
    before = fingerprint(paths)
    mistakes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    try:
        settings = load_settings(args).settings
    except ConfigError as error:
        if place is None:
            raise
        known = recall(place)
        problems, mistakes = (error.problems, ()) if known else ((), error.problems)
        settings = known or salvage(paths, environ, args.sets)
    unread: tuple[str, ...] = ()
    secrets = Secrets()
    try:
        if not mistakes:
            secrets = read_secrets(settings, paths, environ)
    except DeviceAgentError as error:
        if place is None:
            raise
        unread = tuple(str(error).splitlines())
    return Footing(settings, lambda: fingerprint(paths) != before, place, secrets, mistakes, problems, unread)


def last_good(environ: Mapping[str, str]) -> Path | None:
    """Where a service keeps its last good configuration; None at a terminal, where a person sees what is wrong."""
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(directory, FILE_NAME) if directory and environ.get("NOTIFY_SOCKET") else None
