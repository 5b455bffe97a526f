"""`device-agent setup echo`: how the microphone hears the loudspeaker, and which `audio.echo` suits that. 8 seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.audio.one_shot import PATIENCE_S, PERIOD_S, TAIL_S, Pause, wait
from device_agent.config.schema import Settings
from device_agent.errors import AudioError

if TYPE_CHECKING:
    from device_agent.audio.devices import Card, Devices
    from device_agent.setup.echo import Finding

ROOM_S = 0.6


def echo_trial(settings: Settings, file: Path, write: bool, ask: Callable[[str], str]) -> None:
    """Play, listen, print, and store the advice in `file` if that is wanted. Raises `AudioError` with the remedy."""
    from device_agent.audio.devices import Devices
    from device_agent.config.edit import store_settings
    from device_agent.setup.echo import advise

    devices = Devices(settings.audio)
    try:
        found = measure(devices, min(settings.audio.volume, settings.audio.volume_max), threading.Event().wait)
    finally:
        devices.terminate()
    report(found)
    value, why = advise(found)
    print(why)
    if not value:
        return
    print(f'Advice: audio.echo = "{value}" (now "{settings.audio.echo}")')
    if value == settings.audio.echo:
        return
    if write or ask(f"Store it in {file}? [y/N] ").strip().lower() in ("y", "yes"):
        store_settings(file, {"audio.echo": value})
        print(f"Stored in {file}.")


def measure(devices: Devices, volume: int, pause: Pause) -> Finding:
    """Both cards at once, in this thread alone, at `volume` 0 … 100. `AudioError` when one of them stands still."""
    from device_agent.audio.cancellers import webrtc_available
    from device_agent.audio.echo import MAKERS, means
    from device_agent.audio.gain import curve, mul
    from device_agent.audio.reference import RATE
    from device_agent.runtime import speexdsp
    from device_agent.setup.echo import examine, signal

    played = mul(signal(), curve(volume))
    microphone = devices.open_input()
    try:
        loudspeaker = devices.open_output()
        try:
            print(f"Listen: {loudspeaker.name} plays, {microphone.name} hears. Please be quiet …", flush=True)
            heard, began = _together(microphone, loudspeaker, played, pause)
            names = microphone.name, loudspeaker.name
        finally:
            devices.close(loudspeaker)
    finally:
        devices.close(microphone)
    chosen = means("auto", *names, webrtc_available(), speexdsp.available())
    at = 2 * round(began * RATE)
    return examine(heard[:at][-RATE:], played, heard[at:], chosen, MAKERS)


def _together(microphone: Card, loudspeaker: Card, pcm: bytes, pause: Pause) -> tuple[bytes, float]:
    """What was heard at 16 kHz, and at which second of it the first sample of `pcm` was handed over."""
    from device_agent.audio.reference import RATE
    from device_agent.runtime.resample import Resampler

    period = round(loudspeaker.rate * PERIOD_S)
    step = round(microphone.rate * PERIOD_S)
    sound = Resampler(RATE, loudspeaker.rate).process(pcm) + bytes(2 * round(loudspeaker.rate * TAIL_S))
    hearing = Resampler(microphone.rate, RATE)
    most = 2 * RATE * (ROOM_S + len(pcm) / 2 / RATE + PATIENCE_S)
    heard, began, at, waits = bytearray(), 0.0, 0, 0
    while at < len(sound):
        if len(heard) > most:
            raise AudioError(f"loudspeaker {loudspeaker.name!r} takes nothing: plug it in again, or choose another one")
        waits += 1
        if (there := microphone.stream.get_read_available()) >= step:
            heard += hearing.process(microphone.mono(microphone.stream.read(step, exception_on_overflow=False)))
            waits = 0
        if len(heard) >= 2 * RATE * ROOM_S and loudspeaker.stream.get_write_available() >= period:
            began = began or len(heard) / 2 / RATE
            piece = sound[at : at + 2 * period].ljust(2 * period, b"\0")
            loudspeaker.stream.write(loudspeaker.spread(piece), period, exception_on_underflow=False)
            at += 2 * period
            waits = 0
        if waits:
            wait(waits, there, f"microphone {microphone.name!r} delivers nothing", pause)
    return bytes(heard), began


def report(found: Finding) -> None:
    """The figures, a line each."""
    delay = "not found" if found.delay_ms is None else f"{found.delay_ms:.0f} ms"
    loss = "no canceller for these cards" if found.loss_db is None else f"{found.loss_db:.0f} dB by {found.means}"
    print(f"  room           {found.room_db:.0f} dBFS")
    print(f"  echo           {found.echo_db:.0f} dBFS{', clipped' if found.clipped else ''}")
    print(f"  delay          {delay}")
    if found.heard:
        print(f"  echo cancelled {loss}")
