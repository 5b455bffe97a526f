"""The real cards, opened for a moment."""

from __future__ import annotations

import threading

from device_agent.audio.devices import Devices
from device_agent.config.schema import Audio
from device_agent.doctor.host import Recording
from device_agent.errors import AudioError

SETTLING_S, RECORDING_S = 0.3, 1.0
PATIENCE_S = 3.0  # a sound server may let a silent source sleep for 2 s before its first sample
PERIOD_S = 0.02


def record_second(settings: Audio) -> Recording:
    """One second of it, after what a card clicks at its start. Never reads more than is there."""
    devices, pause = Devices(settings), threading.Event()
    try:
        card = devices.open_input()
        try:
            period, heard, waited = int(card.rate * PERIOD_S), bytearray(), 0.0
            while len(heard) < int(card.rate * (SETTLING_S + RECORDING_S)) * card.channels * 2:
                if card.stream.get_read_available() >= period:
                    heard += card.stream.read(period, exception_on_overflow=False)
                    waited = 0.0
                elif waited > PATIENCE_S:
                    raise AudioError(f"microphone {card.name!r} delivers nothing: plug it in again")
                else:
                    waited += PERIOD_S / 4
                    pause.wait(PERIOD_S / 4)
            mono = card.mono(bytes(heard))
            return Recording(card.name, card.rate, mono[2 * int(card.rate * SETTLING_S) :])
        finally:
            devices.close(card)
    finally:
        devices.terminate()


def try_loudspeaker(settings: Audio) -> str:
    """Its name and rate."""
    devices = Devices(settings)
    try:
        card = devices.open_output()
        devices.close(card)
        return f"{card.name} at {card.rate} Hz"
    finally:
        devices.terminate()
