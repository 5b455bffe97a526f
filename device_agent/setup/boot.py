"""The Raspberry Pi's boot configuration (config.txt): what is missing in it for a board, and its change with a backup.

Only lines of our own are added, in a section of our own at the end; other lines for the same overlay or bus are left
as they stand.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from device_agent.errors import ConfigError, PermissionDenied, UsageError
from device_agent.setup.boards import Board

MARK = "# device-agent: {}"
PLACES = ("boot/firmware/config.txt", "boot/config.txt")
"""Where the file lies since Raspberry Pi OS bookworm, and where it lay before."""
BACKUP = ".before-device-agent"


class BootConfig:
    """The boot configuration under `root` (another than / in tests). Raises `UsageError` where there is none."""

    def __init__(self, root: Path = Path("/")) -> None:
        # Both exist on bookworm, where the old place holds a note that it has moved.
        found = [root / place for place in PLACES if (root / place).is_file()]
        if not found:
            raise UsageError(
                f"no boot configuration ({root / PLACES[0]}): this board needs a Raspberry Pi; choose usb or other"
            )
        self.file = found[0]
        self._overlays = self.file.parent / "overlays"

    def missing(self, board: Board) -> list[str]:
        """The lines that `board` needs and the file lacks. Raises `UsageError` for a kernel without its driver."""
        effective = _effective(self.file.read_text("utf-8", "surrogateescape"))
        wanted = [f"dtparam={parameter}" for parameter in board.parameters]
        if board.overlays and not any(_has_overlay(effective, overlay) for overlay in board.overlays):
            wanted.append(f"dtoverlay={self._overlay(board)}")
        return [line for line in wanted if line not in effective]

    def add(self, board: Board, lines: list[str]) -> Path:
        """Append `lines`; returns the backup of the file as it was before our first change.

        Raises `PermissionDenied`, or `ConfigError` where the partition does not serve.
        """
        try:
            return self._add(board, lines)
        except OSError as error:
            refusal = PermissionDenied if isinstance(error, PermissionError) else ConfigError
            raise refusal(
                f"{self.file} cannot be changed ({error.strerror}): sudo device-agent setup; is it mounted read-only?"
            ) from None

    def _add(self, board: Board, lines: list[str]) -> Path:
        text = self.file.read_text("utf-8", "surrogateescape")
        backup = self.file.with_name(self.file.name + BACKUP)
        if not backup.exists():
            _replace(backup, text)
        gap = "" if text.endswith("\n") or not text else "\n"
        # [all]: a filter such as [pi4] at the end of the file must not hold for our lines.
        added = "\n".join(("", "[all]", MARK.format(board.name), *lines, ""))
        _replace(self.file, text + gap + added)
        return backup

    def _overlay(self, board: Board) -> str:
        for overlay in board.overlays:
            if (self._overlays / f"{overlay}.dtbo").is_file():
                return overlay
        names = " or ".join(board.overlays)
        raise UsageError(
            f"this system's kernel has no overlay {names} in {self._overlays}: "
            f"update it (sudo apt full-upgrade), or install the board maker's driver and choose other"
        )


def _effective(text: str) -> set[str]:
    """The lines that hold on every model: without comments, blanks and sections for certain models."""
    lines, everywhere = set(), True
    for raw in text.splitlines():
        line = re.sub(r"\s+", "", raw.partition("#")[0])
        if header := re.fullmatch(r"\[(.*)\]", line):
            everywhere = header[1] == "all"
        elif line and everywhere:
            lines.add(line)
    return lines


def _has_overlay(lines: set[str], overlay: str) -> bool:
    return any(line.partition(",")[0] == f"dtoverlay={overlay}" for line in lines)


def _replace(file: Path, text: str) -> None:
    """Write the whole file or nothing: a Pi with half a config.txt does not boot. The boot partition is FAT."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o755)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
