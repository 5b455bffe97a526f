"""What outlives a restart, in one small file: volume, mute, time used.

Written whole to a temporary file, synced and renamed, so that a power cut leaves the old or the new state, never half
of one. A medium that cannot be written costs memory of the next start only: it is said once, and tried again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from device_agent.records import record
from device_agent.runtime.deadline import Clock, Deadline

log = logging.getLogger(__name__)

SPACING_S = 2.0  # between two writes: a knob that is turned must not wear the memory card out
LIMIT = 65_536  # bytes; a longer file is none of ours
FILE_NAME = "state.json"

R = TypeVar("R")


@record
class Usage:
    """Seconds connected on `day` (YYYY-MM-DD) and in `month` (YYYY-MM), local time; empty where nothing is known."""

    day: str = ""
    day_s: float = 0.0
    month: str = ""
    month_s: float = 0.0


@record
class Kept:
    """What is kept. A new field needs a type, a default, and nothing else.

    `volume` is 0 … 100, None before anybody has set it. `muted` is the button's or the socket's wish, not the switch.
    """

    volume: int | None = None
    muted: bool = False
    usage: Usage = Usage()
    rebooted: bool = False
    """The device has had its machine started anew before."""


class StateFile:
    """`kept` is what holds now. One thread changes it (the dispatcher, once it runs); any may look.

    `change` returns at once: a thread that lives only as long as the write does it, at once after a time of calm, else
    with what else has changed when 2 s have passed since the last. Without a `file` everything stays in memory.
    """

    def __init__(self, file: Path | None, clock: Clock = time.monotonic, spacing_s: float = SPACING_S) -> None:
        self.kept = _load(file) if file else Kept()
        self.writable = file is not None
        """False while the file cannot be written; what has changed is lost with the process then."""
        self.writes = 0
        self._file = file
        self._clock = clock
        self._spacing_s = spacing_s
        self._next = clock()
        self._hurry = threading.Event()
        self._pending = self._owed = False
        self._writer: threading.Thread | None = None

    @classmethod
    def standard(cls, environ: Mapping[str, str]) -> StateFile:
        """The file in systemd's state directory, or in this user's; in memory where there is neither."""
        return cls(standard_path(environ))

    def change(self, **changes: Any) -> None:
        """Replace fields of `kept`, and have it written. Never blocks."""
        kept = replace(self.kept, **changes)
        if kept == self.kept:
            return
        self.kept = kept
        if self._file is not None and not self._pending:
            self._pending = True
            # The one before may be inside a write still: two at once could leave the older state.
            before = self._writer
            writer = threading.Thread(target=self._write_later, args=(before,), name="state", daemon=True)
            try:
                writer.start()
            except RuntimeError:  # no thread to be had: the next change tries again, or the stop writes it
                self._pending, self._owed = False, True
            else:
                self._writer = writer

    def close(self, deadline: Deadline) -> bool:
        """Write what waits, now. False if the medium is too slow for that."""
        self._hurry.set()
        try:
            if self._owed and not self._pending:
                self._write_later(self._writer)
            elif self._writer is not None:
                self._writer.join(deadline.remaining())
                return not self._writer.is_alive()
            return True
        finally:
            self._hurry.clear()  # the process may go on: a reboot that was ordered does not always come

    # ------------------------------------------------------------------------------- the writer's thread
    def _write_later(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        self._hurry.wait(max(0.0, self._next - self._clock()))
        self._pending = self._owed = False  # before the look at `kept`: a change from now on starts a writer of its own
        self._next = self._clock() + self._spacing_s
        assert self._file is not None
        try:
            write_atomically(self._file, json.dumps(asdict(self.kept), indent=1) + "\n")
        except OSError as error:
            if self.writable:
                log.warning("state.unwritable file=%s reason=%r: kept in memory only", self._file, error.strerror)
            self.writable = False
            return
        self.writes += 1
        if not self.writable:
            log.info("state.writable file=%s", self._file)
        self.writable = True


def standard_path(environ: Mapping[str, str]) -> Path | None:
    """Where the state lives: `$STATE_DIRECTORY`, `$XDG_STATE_HOME/device-agent`, `~/.local/state/device-agent`."""
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:  # systemd lists several with colons
        return Path(given, FILE_NAME)
    if home := environ.get("XDG_STATE_HOME", ""):
        return Path(home, "device-agent", FILE_NAME)
    if home := environ.get("HOME", ""):
        return Path(home, ".local", "state", "device-agent", FILE_NAME)
    return None


def write_atomically(file: Path, text: str) -> None:
    """Replace the file's content, also on the medium itself. Raises OSError; what was there stays then."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(descriptor)
        new.replace(file)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # the name is on the medium, too
    finally:
        os.close(directory)


def _load(file: Path) -> Kept:
    """What the file says; what it does not say, or says wrongly, is the default, with a warning."""
    try:
        with file.open("rb") as source:
            data = source.read(LIMIT + 1)
        raw = json.loads(data) if len(data) <= LIMIT else None
    except FileNotFoundError:
        return Kept()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("state.unreadable file=%s reason=%r: starting with the defaults", file, str(error))
        return Kept()
    problems: list[str] = []
    kept = _restore(Kept, raw, "", problems)
    if problems:
        log.warning("state.wrong file=%s fields=%s: they start with their defaults", file, ",".join(problems))
    return kept


def _restore(kind: type[R], raw: Any, where: str, problems: list[str]) -> R:
    """A record from JSON, field by field. Unknown names are skipped: another version may have written them."""
    if not isinstance(raw, dict):
        problems.append(where or "all")
        return kind()
    hints, values = get_type_hints(kind), {}
    for item in fields(kind):  # type: ignore[arg-type]
        if item.name not in raw:
            continue
        name, hint, value = f"{where}{item.name}", hints[item.name], raw[item.name]
        if hasattr(hint, "__dataclass_fields__"):
            values[item.name] = _restore(hint, value, f"{name}.", problems)
        elif _fits(value, hint):
            values[item.name] = value
        else:
            problems.append(name)
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float) and abs(value) < 1e12  # no nan either
    return isinstance(value, hint)
