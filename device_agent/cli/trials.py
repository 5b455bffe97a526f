"""What `device-agent setup` tries: the key at the service, and the sound of this device."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.config.endpoints import https_url
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.errors import AudioError, ServiceError

if TYPE_CHECKING:
    from device_agent.audio.devices import Card, Devices

DEADLINE_S = 10.0
RECORDING_S = 3.0
PATIENCE_S = 2.5  # a sound server may let a silent source sleep for 2 s before its first sample
PERIOD_S = 0.02
TAIL_S = 0.3  # closing a stream drops what the host still buffers
SILENCE_DBFS = -70.0
Pause = Callable[[float], object]


def prove(settings: Settings, secrets: Secrets) -> None:
    """Fetch one signed URL, which needs a valid key and an existing agent, and forget it.

    Raises `ServiceError` with the remedy: wrong key, unknown agent, no network. Takes at most 10 s.
    """
    from device_agent.core.ending import classify
    from device_agent.link.address import conversation_url
    from device_agent.link.dial import Dialer
    from device_agent.link.endings import end_of
    from device_agent.link.waiting import Attempt
    from device_agent.runtime.wakeup import Wakeup

    by_key = replace(settings, server=replace(settings.server, auth="key"))
    wakeup = Wakeup()
    try:
        attempt = Attempt(wakeup, DEADLINE_S, time.monotonic, aborted=lambda: False)
        conversation_url(by_key, secrets, Dialer(wakeup, settings.server.ca_file), attempt)
    except Exception as error:
        end = end_of(error)
        if end is None:
            raise
        advice = classify(end).advice or f"is the network up? ({end.kind.value}: {end.reason or end.code})"
        raise ServiceError(f"{https_url(settings)}: {advice}") from None
    finally:
        wakeup.close()


def play_back(settings: Settings) -> None:
    """Record 3 s from the configured microphone and play them. Raises `AudioError` with the remedy."""
    from device_agent.audio.devices import Devices

    devices = Devices(settings.audio)
    try:
        echo(devices, threading.Event().wait)
    finally:
        devices.terminate()


def echo(devices: Devices, pause: Pause) -> None:
    """Record, then play, in this thread alone: it owns each stream from its opening to its closing."""
    from device_agent.audio.vad import level_dbfs
    from device_agent.runtime.resample import Resampler

    microphone = devices.open_input()
    try:
        print(f"Microphone: {microphone.name}. Say something, you have {RECORDING_S:.0f} seconds …", flush=True)
        heard = _record(microphone, pause)
    finally:
        devices.close(microphone)
    level = level_dbfs(heard)
    loudspeaker = devices.open_output()
    try:
        print(f"Loudspeaker: {loudspeaker.name}. This is what I heard, at {level:.0f} dBFS.", flush=True)
        _play(loudspeaker, Resampler(microphone.rate, loudspeaker.rate).process(heard), pause)
    finally:
        devices.close(loudspeaker)
    if level < SILENCE_DBFS:
        print("That was silence: is the microphone muted, or is it another one (audio.input)?")


def _record(card: Card, pause: Pause) -> bytes:
    """Mono samples at the card's rate. Never reads more than is there: such a read may never return."""
    period = int(card.rate * PERIOD_S)
    wanted = int(card.rate * RECORDING_S) * card.channels * 2
    heard = bytearray()
    waits = 0
    while len(heard) < wanted:
        if (available := card.stream.get_read_available()) >= period:
            heard += card.stream.read(period, exception_on_overflow=False)
            waits = 0
        else:
            waits = wait(waits, available, f"microphone {card.name!r} delivers nothing", pause)
    return card.mono(bytes(heard))


def _play(card: Card, pcm: bytes, pause: Pause) -> None:
    period = int(card.rate * PERIOD_S)
    pcm += bytes(2 * int(card.rate * TAIL_S))
    waits = 0
    for start in range(0, len(pcm), 2 * period):
        piece = spread(pcm[start : start + 2 * period].ljust(2 * period, b"\0"), card.channels)
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


def spread(mono: bytes, channels: int) -> bytes:
    """The same samples on every channel."""
    if channels == 1:
        return mono
    samples = array.array("h", mono)
    spread = array.array("h", bytes(len(mono) * channels))
    for channel in range(channels):
        spread[channel::channels] = samples
    return spread.tobytes()
