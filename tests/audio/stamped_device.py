"""`device-agent run` with a microphone whose every sample says when it was captured: ORIGIN SOCKET LEAK SETTING….

The value of a sample is the time since ORIGIN (monotonic seconds) in steps of 5 ms, from 1 on: silence is none of it.
Everything behind the card is the product's own: capture thread, ring, latch, core, link, control socket. With LEAK = 1
one frame of the muted time is sent, past ring and latch: the sabotage.

Lines on stdin move mock pins (`low 17`, `high 17`) and stand for the wake word (`wake word`).
"""

from __future__ import annotations

import array
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from device_agent.audio.capture import Capture
from device_agent.audio.devices import Card, Devices
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.schema import Audio
from device_agent.config.secrets import Secrets
from device_agent.core.commands import SendFrames, SendSilence
from device_agent.core.events import WakeWord
from device_agent.device import Device
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import FRAME_SAMPLES
from device_agent.runtime.worker import Worker
from device_agent.supervisor import Inbox, Supervisor
from device_agent.system.log import LineWriter
from device_agent.system.notify import Notifier

RATE = 16_000
STEP = 80  # samples: 5 ms
STOWAWAY = -7  # a generation that only the sabotaged latch lets through


class StampedStream:
    """Hears its own clock."""

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self._next = self._now()

    def _now(self) -> int:
        return int((time.monotonic() - self._origin) * RATE)

    def get_read_available(self) -> int:
        return self._now() - self._next

    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes:
        first, self._next = self._next, self._next + num_frames
        return array.array("h", (1 + n // STEP for n in range(first, self._next))).tobytes()


class StampedDevices(Devices):
    """One card, always there."""

    def __init__(self, origin: float) -> None:
        super().__init__(Audio())
        self._origin = origin

    def prepare(self) -> None:
        """PortAudio is not needed."""

    def open_input(self) -> Card:
        return Card(StampedStream(self._origin), "stamps", RATE)  # type: ignore[arg-type]

    def close(self, card: Card) -> None:
        """Nothing is held."""


class Mouth(Worker):
    """In the place of the loudspeaker."""

    def run(self) -> None:
        self.beat("closed", due=False)
        self.stopping.wait()

    def use(self, *_: object) -> None:
        """Nothing sounds."""

    set_volume = play_clip = duck = use


class LeakyLatch(MuteLatch):
    """The true latch, with a hole."""

    def __init__(self, true: MuteLatch) -> None:
        super().__init__()
        self._true = true

    def passes(self, generation: int) -> bool:
        return generation == STOWAWAY or self._true.passes(generation)


class LeakyDevice(Device):
    """Sends one frame of the muted time in the place of silence."""

    origin = 0.0
    leaked = False

    def _link(self) -> Worker:
        true = self._latch
        self._latch = LeakyLatch(true)
        try:
            return super()._link()
        finally:
            self._latch = true

    def _who_performs(self) -> dict[type, Callable[[Any], None]]:
        table = super()._who_performs()
        silence = table[SendSilence]

        def leak(order: SendSilence) -> None:
            if self.leaked or not self._latch.closed:
                silence(order)
                return
            self.leaked = True
            stamp = 1 + int((time.monotonic() - self.origin) * RATE) // STEP
            seq = self._capture_ring.write(array.array("h", [stamp] * FRAME_SAMPLES).tobytes(), STOWAWAY)
            self._worker("link").send_frames(SendFrames(order.conn, seq, seq))

        return {**table, SendSilence: leak}


def main(origin: float, socket: Path, leak: bool, settings: Sequence[str]) -> int:
    sys.setswitchinterval(0.001)
    inbox = Inbox()
    supervisor = Supervisor(inbox, LineWriter(1).write, Notifier({}))
    loaded = load(Paths.standard(os.environ, only=os.devnull), {}, settings)

    def capture() -> Worker:
        parts = device._capture_ring, device._latch, device.post, supervisor.failed
        return Capture(StampedDevices(origin), 20, *parts)

    makers = {"capture": capture, "playback": lambda: Mouth("playback", supervisor.failed)}
    LeakyDevice.origin = origin
    device = (LeakyDevice if leak else Device)(loaded.settings, Secrets(), supervisor, makers=makers, control=socket)

    def act(what: str, which: str) -> None:
        if what == "wake":
            device.post(WakeWord("okay_nabu", 0))
        else:
            pin = supervisor.worker("panel")._make_factory().pin(int(which))  # type: ignore[attr-defined]
            pin.drive_low() if what == "low" else pin.drive_high()

    def follow() -> None:
        for line in sys.stdin:
            act(*line.split())

    threading.Thread(target=follow, daemon=True).start()
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "1", sys.argv[4:]))
