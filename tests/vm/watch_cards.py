"""Runs in the guest, beside the program: what a process holds of the sound cards, a JSON line at each change.

Everything is the kernel's own account: which cards there are, which of their files the process has open, which streams
run. `t` is CLOCK_MONOTONIC.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

LOOK_S = 0.02


def held(pid: str) -> list[str]:
    """The streams that the process has open; "deleted" with those whose card is gone."""
    found = []
    for file in Path("/proc", pid, "fd").iterdir():
        try:
            target = str(file.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("/dev/snd/pcm"):
            found.append(target.removeprefix("/dev/snd/"))
    return sorted(found)


def running() -> list[str]:
    """The streams that move samples, as card/stream."""
    found = []
    for card in Path("/proc/asound").glob("card*/id"):
        name = card.read_text().strip()
        for status in card.parent.glob("pcm*/sub*/status"):
            if "RUNNING" in status.read_text():
                found.append(f"{name}/{status.parent.parent.name}")
    return sorted(found)


def main(pid: str) -> None:
    last, pause = None, threading.Event()
    while Path("/proc", pid).exists():
        try:
            cards = sorted(file.read_text().strip() for file in Path("/proc/asound").glob("card*/id"))
            now = {"cards": cards, "held": held(pid), "running": running()}
        except OSError:
            continue  # a card went away while we looked
        if now != last:
            last = now
            print(json.dumps({"t": round(time.monotonic(), 3), **now}), flush=True)
        pause.wait(LOOK_S)


main(sys.argv[1])
