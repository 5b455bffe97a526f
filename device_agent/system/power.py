"""Shutting the machine down, by systemd's own tool."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Sequence

log = logging.getLogger(__name__)

COMMAND = ("systemctl", "--no-ask-password", "poweroff")
PATIENCE_S = 10.0


def power_off(command: Sequence[str] = COMMAND) -> threading.Thread:
    """Ask for it in a thread of its own, and return at once. Where it is refused the log says why and what to do."""
    thread = threading.Thread(target=_power_off, args=(command,), name="power-off", daemon=True)
    thread.start()
    return thread


def _power_off(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        reason = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(error)
    if reason:
        log.error("power_off.refused reason=%r: allow it with a polkit rule, see docs/buttons.md", reason)
