"""What `device-agent setup` tries: the key at the service, and the sound of this device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.config.endpoints import https_url
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.errors import ServiceError

if TYPE_CHECKING:
    from device_agent.audio.devices import Devices

DEADLINE_S = 10.0
RECORDING_S = 3.0
SILENCE_DBFS = -70.0
Pause = Callable[[float], object]


def prove(settings: Settings, secrets: Secrets) -> None:
    """Fetch one signed URL, which needs a valid key and an existing agent, and forget it.

    Raises `ServiceError` with the remedy: wrong key, unknown agent, no network. Takes at most 10 s.
    """
    from device_agent.core.ending import classify
    from device_agent.link.address import conversation_url
    from device_agent.link.endings import end_of
    from device_agent.link.once import one_attempt

    by_key = replace(settings, server=replace(settings.server, auth="key"))
    try:
        with one_attempt(settings.server.ca_file, DEADLINE_S) as (dialer, attempt):
            conversation_url(by_key, secrets, dialer, attempt)
    except Exception as error:
        end = end_of(error)
        if end is None:
            raise
        advice = classify(end).advice or f"is the network up? ({end.kind.value}: {end.reason or end.code})"
        raise ServiceError(f"{https_url(settings)}: {advice}") from None


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
    from device_agent.audio.one_shot import play, record
    from device_agent.audio.vad import level_dbfs
    from device_agent.runtime.resample import Resampler

    microphone = devices.open_input()
    try:
        print(f"Microphone: {microphone.name}. Say something, you have {RECORDING_S:.0f} seconds …", flush=True)
        heard = record(microphone, RECORDING_S, pause)
    finally:
        devices.close(microphone)
    level = level_dbfs(heard)
    loudspeaker = devices.open_output()
    try:
        print(f"Loudspeaker: {loudspeaker.name}. This is what I heard, at {level:.0f} dBFS.", flush=True)
        play(loudspeaker, Resampler(microphone.rate, loudspeaker.rate).process(heard), pause)
    finally:
        devices.close(loudspeaker)
    if level < SILENCE_DBFS:
        print("That was silence: is the microphone muted, or is it another one (audio.input)?")
