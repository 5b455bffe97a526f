"""`device-agent bench record`: both sides of this device for some seconds, on this machine, for everybody to know.

A conversation runs as `device-agent run` would hold it. `microphone.wav` is what the agent could hear (16 kHz, after
echo cancelling; silence while muted), `loudspeaker.wav` what was handed to the card; both begin at the same moment.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from device_agent.audio.tape import read_tape
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.core import events as e
from device_agent.core.commands import PlayClip
from device_agent.device import Device
from device_agent.errors import UsageError
from device_agent.runtime.ring import FRAME_BYTES, FRAME_MS
from device_agent.supervisor import Inbox, Signalled, Supervisor
from device_agent.system.log import LineWriter
from device_agent.system.notify import Notifier

RATE = 16_000
ANNOUNCEMENT = PlayClip(0, "recording")


class Side:
    """The microphone's side: an observer of the core that keeps each frame's samples in its place."""

    def __init__(self, heard: Callable[[int], bytes | None], announce: Callable[[], None]) -> None:
        self.pcm = bytearray()
        self.start = 0.0
        """Monotonic time of the first sample; 0 before there is one."""
        self._heard = heard
        self._announce = announce
        self._first = 0

    def __call__(self, now: float, event: e.Event, commands: Sequence[object], snapshot: object) -> None:
        if isinstance(event, e.DeviceUp) and event.device == "loudspeaker":
            self._announce()
        if not isinstance(event, e.Frame):
            return
        if not self.start:
            self.start, self._first = event.t - FRAME_MS / 1000, event.seq
        at = FRAME_BYTES * (event.seq - self._first)
        self.pcm += bytes(max(0, at + FRAME_BYTES - len(self.pcm)))
        self.pcm[at : at + FRAME_BYTES] = self._heard(event.seq) or bytes(FRAME_BYTES)


def run(settings: Settings, secrets: Secrets, seconds: float, directory: Path, say: Callable[[str], None]) -> int:
    """Writes both files and names them; returns the exit code. Raises `UsageError` where they cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".recording-") as place:
            return _record(settings, secrets, seconds, directory, Path(place, "tape"), say)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{directory} cannot be written ({reason}): choose another place with --output") from error


def _record(
    settings: Settings, secrets: Secrets, seconds: float, directory: Path, tape: Path, say: Callable[[str], None]
) -> int:
    inbox = Inbox()
    supervisor = Supervisor(inbox, LineWriter(sys.stdout.fileno()).write, Notifier({}))

    def announce() -> None:
        playback: Any = supervisor.find("playback")
        playback.play_clip(ANNOUNCEMENT)

    side = Side(lambda seq: device.heard(seq), announce)
    device = Device(settings, secrets, supervisor, [side], record_played=tape)
    say(f"Recording microphone and loudspeaker for {seconds:g} s. Everybody who can be heard must know.")
    timer = threading.Timer(seconds, lambda: inbox.put(Signalled(signal.SIGTERM)))
    timer.daemon = True
    timer.start()
    code = supervisor.run()
    timer.cancel()
    started, rate, played = read_tape(tape)
    origin = min(filter(None, (side.start, started)), default=0.0)
    _write(directory / "microphone.wav", bytes(side.pcm), RATE, side.start - origin, say)
    _write(directory / "loudspeaker.wav", played.tobytes(), rate or RATE, started - origin, say)
    return code


def _write(file: Path, pcm: bytes, rate: int, late_s: float, say: Callable[[str], None]) -> None:
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(bytes(2 * round(max(0.0, late_s) * rate)) + pcm)
    say(f"{file}: {len(pcm) / 2 / rate:.1f} s at {rate} Hz")
