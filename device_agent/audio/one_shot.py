"""A piece of sound recorded or played in the caller's thread alone: for trials and checks, not for a conversation.

The caller opens and closes the card. Never reads or writes more than there is room for: such a call may never return.
"""

from __future__ import annotations

from collections.abc import Callable

from device_agent.audio.card import Card
from device_agent.errors import AudioError

PERIOD_S = 0.02
PATIENCE_S = 2.5  # a sound server may let a silent source sleep for 2 s before its first sample
TAIL_S = 0.3  # closing a stream drops what the host still buffers

Pause = Callable[[float], object]


def record(card: Card, seconds: float, pause: Pause) -> bytes:
    """So many seconds of the microphone: mono s16le at the card's rate. Raises `AudioError` if it stands still."""
    period = int(card.rate * PERIOD_S)
    wanted = int(card.rate * seconds) * card.channels * 2
    heard = bytearray()
    waits = 0
    while len(heard) < wanted:
        if (available := card.stream.get_read_available()) >= period:
            heard += card.stream.read(period, exception_on_overflow=False)
            waits = 0
        else:
            waits = wait(waits, available, f"microphone {card.name!r} delivers nothing", pause)
    return card.mono(bytes(heard))


def play(card: Card, pcm: bytes, pause: Pause) -> None:
    """Play mono s16le at the card's rate to its end. Raises `AudioError` if the loudspeaker stands still."""
    period = int(card.rate * PERIOD_S)
    pcm += bytes(2 * int(card.rate * TAIL_S))
    waits = 0
    for start in range(0, len(pcm), 2 * period):
        piece = card.spread(pcm[start : start + 2 * period].ljust(2 * period, b"\0"))
        while (room := card.stream.get_write_available()) < period:
            waits = wait(waits, room, f"loudspeaker {card.name!r} takes nothing", pause)
        card.stream.write(piece, period, exception_on_underflow=False)
        waits = 0


def wait(waits: int, available: int, problem: str, pause: Pause) -> int:
    """Wait a quarter of a period; the new count of waits. `AudioError`: the card is gone, or we waited too often."""
    if available < 0 or waits * PERIOD_S / 4 > PATIENCE_S:
        raise AudioError(f"{problem}: plug it in again, or choose another one in [audio]")
    pause(PERIOD_S / 4)
    return waits + 1
