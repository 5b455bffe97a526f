"""The real cards, opened for a moment."""

from __future__ import annotations

import threading

from device_agent.audio.devices import Devices
from device_agent.audio.one_shot import record
from device_agent.config.schema import Audio
from device_agent.doctor.host import Recording

SETTLING_S, RECORDING_S = 0.3, 1.0


def record_second(settings: Audio) -> Recording:
    """One second of it, after what a card clicks at its start. Raises `AudioError`."""
    devices = Devices(settings)
    try:
        card = devices.open_input()
        try:
            heard = record(card, SETTLING_S + RECORDING_S, threading.Event().wait)
            return Recording(card.name, card.rate, heard[2 * int(card.rate * SETTLING_S) :])
        finally:
            devices.close(card)
    finally:
        devices.terminate()


def try_loudspeaker(settings: Audio) -> str:
    """Its name and rate. Raises `AudioError`."""
    devices = Devices(settings)
    try:
        card = devices.open_output()
        devices.close(card)
        return f"{card.name} at {card.rate} Hz"
    finally:
        devices.terminate()
