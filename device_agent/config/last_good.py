"""The last configuration with which the device got ready: what it starts on when the present one is wrong.

It lies in the state directory, whole and without secrets (which are in no configuration).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from device_agent.config.edit import store
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.render import effective
from device_agent.config.schema import Settings
from device_agent.errors import DeviceAgentError

FILE_NAME = "last-good.toml"


def remember(file: Path, settings: Settings) -> None:
    """Keep these settings. Writes only what has changed; a place that cannot be written keeps nothing."""
    text = effective(settings)
    with suppress(OSError, DeviceAgentError):
        if not file.exists() or file.read_text("utf-8") != text:
            store(file, text, 0o600)


def recall(file: Path) -> Settings | None:
    """The settings kept last; None if there are none, or another version's that mean nothing any more."""
    with suppress(OSError, DeviceAgentError):
        return load(Paths(file.parent, file.parent, only=file), {}).settings
    return None
