"""Runs in the guest: opens each card named on the command line as the program would, and prints what became of it."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from device_agent.audio.devices import Card, Devices
from device_agent.config.schema import Audio
from device_agent.errors import AudioError

PERIODS, PATIENCE_S = 5, 5.0


def kernel(card: str, side: str) -> dict[str, str]:
    """What the kernel says of the card's stream."""
    texts = (file.read_text() for file in Path("/proc/asound", card).glob(f"pcm*{side}/sub*/hw_params"))
    return dict(line.split(": ", 1) for text in texts for line in text.splitlines() if ": " in line)


def moved(card: Card, output: bool) -> int:
    """Samples that went through within the patience, of 20 ms times `PERIODS`."""
    period, done, end = card.rate // 50, 0, time.monotonic() + PATIENCE_S
    stream, pause = card.stream, threading.Event()
    while done < PERIODS * period and time.monotonic() < end:
        available = stream.get_write_available() if output else stream.get_read_available()
        if available < period:
            pause.wait(0.005)
        elif output:
            stream.write(bytes(2 * period * card.channels), period, exception_on_underflow=False)
            done += period
        else:
            done += len(card.mono(stream.read(period, exception_on_overflow=False))) // 2
    return done


def attempt(name: str, output: bool) -> dict[str, Any]:
    """Open one side of one card, move some samples, close it."""
    devices = Devices(Audio(input=(f"id:{name}",), output=(f"id:{name}",)))
    try:
        card = devices.open_output() if output else devices.open_input()
        try:
            if card.note:
                return {"error": f"another card was taken: {card.note}"}
            samples = moved(card, output)
            host = kernel(name, "p" if output else "c")
            return {"rate": card.rate, "channels": card.channels, "samples": samples, "host": host}
        finally:
            devices.close(card)
    except AudioError as error:
        return {"error": str(error)}
    finally:
        devices.terminate()


print(json.dumps({f"{name} {'out' if output else 'in'}": attempt(name, output)
                  for name in sys.argv[1:] for output in (False, True)}))  # fmt: skip
