"""Writing configuration: what `device-agent setup` stores, without touching the rest of a file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_agent.config.render import to_toml
from device_agent.errors import ConfigError, PermissionDenied


def store_settings(file: Path, texts: Mapping[str, Any]) -> None:
    """Set these settings (dotted names) in the file, keeping its comments and order; makes the file if need be.

    Raises `ConfigError` where the file is written in a way that cannot be edited safely.
    """
    import tomllib

    before = file.read_text("utf-8") if file.exists() else ""
    after = before
    wanted = tomllib.loads(before)
    for name, text in texts.items():
        section, key = name.split(".")
        after = _with(after, section, key, to_toml(text))
        wanted.setdefault(section, {})[key] = text
    try:
        unharmed = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        unharmed = False
    if not unharmed:
        lines = ", ".join(f"{name} = {to_toml(text)}" for name, text in texts.items())
        raise ConfigError(f"{file} is written in an unusual way; please set there yourself: {lines}")
    store(file, after, stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o644)


def store(file: Path, text: str, mode: int) -> None:
    """Replace the file at once, so that a power cut leaves the old or the new one.

    Raises `PermissionDenied`, or `ConfigError` where the path or the disk does not serve.
    """
    try:
        target = file.resolve()  # a link to the person's collected dot files stays a link
        fresh = target.with_name(f".{target.name}.new")
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        # O_EXCL with the mode from the start: at no moment can others open the file.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(descriptor)
        fresh.replace(target)
    except OSError as error:
        refusal = PermissionDenied if isinstance(error, PermissionError) else ConfigError
        raise refusal(f"{file} cannot be written: {error.strerror}") from None


def _with(text: str, section: str, key: str, value: str) -> str:
    """The text with `key = value` in its section: in place of the old line, else below the header, else at the end."""
    lines = text.splitlines()
    header = re.compile(rf"\s*\[\s*{section}\s*\]\s*(#.*)?$")
    start = next((number for number, line in enumerate(lines) if header.match(line)), None)
    if start is None:
        return "\n".join([*lines, *([""] if lines else []), f"[{section}]", f"{key} = {value}", ""])
    for number in range(start + 1, len(lines)):
        if lines[number].lstrip().startswith("["):
            break
        if re.match(rf"\s*{key}\s*=", lines[number]):
            lines[number] = f"{key} = {value}"
            return "\n".join([*lines, ""])
    return "\n".join([*lines[: start + 1], f"{key} = {value}", *lines[start + 1 :], ""])
