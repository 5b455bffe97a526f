"""`device-agent bench meter`: what the device hears, live, without any network."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.core.gate import FRAME_MS, Gate
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import CaptureRing, PlaybackRing

TERMINAL_S, PLAIN_S = 0.1, 1.0  # between two lines
STOP_S = 2.0
FLOOR_DB_PER_FRAME = 0.02  # the noise floor rises by 1 dB/s, and falls at once
LATE_S = 0.03  # a frame that comes so much later in the sound than it should: samples were lost
BAR_DB, BAR = (-70.0, 0.0), "▏▎▍▌▋▊▉█"
BAR_CELLS = 24


class Meter:
    """Facts of the audio drivers in, one line out."""

    def __init__(self, settings: Settings) -> None:
        self._gate = Gate(settings.gate)
        self._level = self._floor = self._peak = -100.0
        self._heard = False
        self._last_t = 0.0
        self._lost_ms = 0.0
        self._echo = ""
        self._notes: dict[str, str] = {"microphone": "opening …"}

    def take(self, event: e.Event) -> None:
        """A fact that a driver posted."""
        if isinstance(event, e.Frame):
            self._frame(event)
        elif isinstance(event, e.Echo):
            loss = "" if event.loss_db is None else f" {event.loss_db:.0f} dB"
            self._echo = f"echo {event.means}{loss}{', too little' if event.failing else ''}"
        elif isinstance(event, e.DeviceUp):
            self._notes[event.device] = ""
            self._last_t = 0.0
        elif isinstance(event, e.DeviceDown):
            self._notes[event.device] = event.reason

    def line(self, dry: int, bar: bool = False) -> str:
        """What holds now; the loudest level since the last line. `dry`: how often the loudspeaker ran dry."""
        level, self._peak = max(self._peak, self._level), -100.0
        notes = [f"{device}: {note}" for device, note in self._notes.items() if note]
        if not self._heard:
            return "; ".join(notes)
        parts = [
            f"level {level:4.0f} dBFS",
            f"floor {self._floor:4.0f}",
            f"gate {'open  ' if self._gate.open else 'closed'}",
            *([self._echo] if self._echo else []),
            f"lost {self._lost_ms:.0f} ms",
            f"dry {dry}",
            *notes,
        ]
        return "  ".join(([draw(level)] if bar else []) + parts)

    def _frame(self, frame: e.Frame) -> None:
        if not self._heard:
            self._floor = frame.level
        self._heard = True
        self._notes["microphone"] = ""
        self._level = frame.level
        self._peak = max(self._peak, frame.level)
        self._floor = min(frame.level, self._floor + FLOOR_DB_PER_FRAME)
        self._gate.frame(frame.speech, frame.level)
        late = frame.t - self._last_t - FRAME_MS / 1000
        if self._last_t and late > LATE_S:
            self._lost_ms += 1000 * late
        self._last_t = frame.t


def draw(level: float) -> str:
    """A bar from −70 to 0 dBFS."""
    low, high = BAR_DB
    eighths = round(8 * BAR_CELLS * min(1.0, max(0.0, (level - low) / (high - low))))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (BAR[rest - 1] if rest else "")).ljust(BAR_CELLS)


def run(settings: Settings, seconds: float, write: Callable[[str], object], terminal: bool) -> None:
    """Show the meter for `seconds` (0: until Ctrl-C). Raises what ended one of the audio threads."""
    from device_agent.audio.capture import Capture
    from device_agent.audio.devices import Devices
    from device_agent.audio.echo import EchoControl
    from device_agent.audio.playback import Playback

    facts: SimpleQueue[e.Event | BaseException] = SimpleQueue()

    def failed(name: str, error: BaseException) -> None:
        facts.put(error)

    devices = Devices(settings.audio)
    echo = EchoControl(settings.audio.echo, devices.reference, lambda: devices.loudspeaker, facts.put)
    capture = Capture(devices, settings.audio.period_ms, CaptureRing(), MuteLatch(), facts.put, failed, echo=echo)
    playback = Playback(devices, PlaybackRing(), facts.put, failed, reference=devices.reference)
    workers = (capture, playback)
    for worker in workers:
        worker.start()
        worker.use(True)
    try:
        _show(facts, Meter(settings), lambda: playback.underruns, seconds, write, terminal)
    finally:
        for worker in workers:
            worker.request_stop()
        deadline = Deadline(STOP_S)
        if sum(worker.join(deadline) for worker in workers) == len(workers):
            devices.terminate()


def _show(
    facts: SimpleQueue[e.Event | BaseException],
    meter: Meter,
    dry: Callable[[], int],
    seconds: float,
    write: Callable[[str], object],
    terminal: bool,
) -> None:
    pause = threading.Event()
    every = TERMINAL_S if terminal else PLAIN_S
    end = time.monotonic() + seconds if seconds else float("inf")
    while (left := end - time.monotonic()) > 0:
        pause.wait(min(every, left))
        while True:
            try:
                fact = facts.get_nowait()
            except Empty:
                break
            if isinstance(fact, BaseException):
                raise fact
            meter.take(fact)
        line = meter.line(dry(), bar=terminal)
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            write(f"\r{line[:width]:<{width}}")
        else:
            write(f"{line}\n")
    if terminal:
        write("\n")
