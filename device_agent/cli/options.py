"""The options that say which settings hold, for every command that needs settings."""

from __future__ import annotations

import argparse
import os

from device_agent.config.load import Loaded, load
from device_agent.config.paths import Paths


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--config FILE` and `--set section.key=value`."""
    parser.add_argument("--config", metavar="FILE", help="read this file in place of the usual configuration files")
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        dest="sets",
        action="append",
        default=[],
        help="change one setting; may be given several times",
    )


def settings_paths(args: argparse.Namespace) -> Paths:
    """The places that hold configuration and key."""
    return Paths.standard(os.environ, only=args.config)


def load_settings(args: argparse.Namespace) -> Loaded:
    """The settings from all layers. Raises `ConfigError`."""
    return load(settings_paths(args), os.environ, args.sets)
