"""Where the configuration lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from device_agent.records import record

_NAME = "device-agent"


@record
class Paths:
    """The directories of the system's and of this user's configuration; root's own is the system's."""

    system: Path
    own: Path
    only: Path | None = None
    """A file that stands in place of all others (`--config`)."""

    @classmethod
    def standard(cls, environ: Mapping[str, str], only: str | None = None, root: bool | None = None) -> Paths:
        """The usual places: `/etc/device-agent`, and `$XDG_CONFIG_HOME` or `~/.config` for a user with a home."""
        system = Path("/etc", _NAME)
        own = system
        if environ.get("XDG_CONFIG_HOME"):
            own = Path(environ["XDG_CONFIG_HOME"], _NAME)
        elif environ.get("HOME") and not (os.geteuid() == 0 if root is None else root):
            own = Path(environ["HOME"], ".config", _NAME)
        return cls(system, own, Path(only) if only is not None else None)

    @property
    def config(self) -> Path:
        """The configuration file that `device-agent setup` writes."""
        return self.only or self.own / "config.toml"

    @property
    def api_key(self) -> Path:
        """The file that `device-agent setup` stores the API key in."""
        return self.own / "api-key"


PROFILES = (Path(__file__).parents[2] / "config" / "profiles", Path("/usr/share", _NAME, "profiles"))


def profiles() -> dict[str, Path]:
    """The ready-made profiles by name: those of the source tree, or of the Debian package."""
    return {file.stem: file for directory in reversed(PROFILES) for file in sorted(directory.glob("*.toml"))}
