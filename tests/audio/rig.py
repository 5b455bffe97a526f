"""The whole product on the bench: `device-agent run` as a process between virtual cards and the simulator.

The witnesses are all outside of it: the server's events and recording, the loudspeaker's monitor, /proc, the exit code.
"""

from __future__ import annotations

import array
import os
import signal
import statistics
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from steady import Metronome

from device_agent.bench.demo import Simulator, device
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from tests.analysis import RATE, WIRE_RATE, Samples, dbfs, find, likeness, resampled
from tests.patience import until

SOUND = 100
# Holes that hiccups of this machine excuse: they tear the sound server of the virtual cards as well as the program.
TORN = 4
TALK = ("activation.modes=always-on", "audio.echo=off")
SILENT_AGENT = ("--first-message", "")


@dataclass
class Call:
    """One run of the product. `lines` is its timeline or log, `errors` the file with its stderr."""

    simulator: Simulator
    speaker: Recorder
    room: Recorder
    microphone: Microphone
    metronome: Metronome
    errors: Path
    lines: list[str] = field(default_factory=list)
    process: Popen[str] = None  # type: ignore[assignment]  # set as soon as it runs

    def ready(self) -> float:
        """Wait until microphone audio flows to the server and both cards run; the time of that."""
        event = self.simulator.wait("audio", timeout=20)
        self.says("loudspeaker: ", "microphone: ")
        return float(event["t"])

    def says(self, *texts: str, timeout: float = 10.0) -> None:
        """Wait for lines of the program's output with these texts."""
        for text in texts:
            until(lambda text=text: any(text in line for line in self.lines), timeout, f"the device says {text!r}")

    def audible(self, since: float, timeout: float = 8.0) -> float:
        """When the loudspeaker first sounded at or after `since`."""

        def look() -> float | None:
            heard = self.speaker.samples(since)
            at = next((n for n, value in enumerate(heard) if abs(value) > SOUND), None)
            return None if at is None else max(since, self.speaker.origin) + at / RATE

        return float(until(look, timeout, "the loudspeaker sounds"))

    def sounded_last(self, since: float) -> float:
        """When the loudspeaker last sounded after `since`; `since` if it did not."""
        heard = self.speaker.samples(since)
        at = next((n for n in range(len(heard) - 1, -1, -1) if abs(heard[n]) > SOUND), None)
        return since if at is None else max(since, self.speaker.origin) + at / RATE

    def silent(self, seconds: float = 0.4) -> float:
        """Wait until the loudspeaker has been silent for `seconds`; when it fell silent."""
        until(lambda: not any(abs(v) > SOUND for v in self.speaker.samples(time.monotonic() - seconds)), 20, "silence")
        return self.sounded_last(time.monotonic() - seconds - 1.0)

    def pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def received(self) -> Samples:
        """Everything that the server received, 16 kHz."""
        return read(self.simulator.record)

    def steadily(self, measure: Callable[[], str], tries: int = 5) -> str:
        """What `measure` finds wrong each time: a single hole may be this machine's, a fault of the product stays."""
        while True:
            tries, before = tries - 1, self.metronome.hiccups
            fault = measure()
            if not fault or tries == 0:
                return fault
            print(f"{fault}; this machine hiccuped {self.metronome.hiccups - before} times: measured again")

    def excused(self, faults: list[str]) -> bool:
        """Whether there are none, or no more than this machine has torn (its stalls) or may have (some hiccups)."""
        stalls, hiccups = self.metronome.stalls, self.metronome.hiccups
        print(f"{len(faults)} faults, {stalls} stalls and {hiccups} hiccups of this machine: {faults[:10]}")
        return len(faults) <= 3 * stalls + min(hiccups, TORN)

    def violations(self) -> list[Any]:
        return [event["what"] for event in self.simulator.of_kind("violation")]

    def stop(self, number: int = signal.SIGTERM, patience: float = 6.0) -> tuple[float, int]:
        """Send a signal; seconds until the exit, and the exit code."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(patience)
        return time.monotonic() - began, code

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def call(
    cards: VirtualCards,
    *settings: str,
    options: tuple[str, ...] = SILENT_AGENT,
    environ: dict[str, str] | None = None,
    arguments: tuple[str, ...] = ("--timeline",),
) -> Iterator[Call]:
    """Start everything, the device last; `options` are the simulator's."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with (
            Recorder(cards) as speaker,
            Recorder(cards, cards.microphone) as room,
            Microphone(cards) as microphone,
            Simulator(home / "heard.wav", *options) as simulator,
            Metronome() as metronome,
            (home / "errors").open("w") as errors,
        ):
            made = Call(simulator, speaker, room, microphone, metronome, home / "errors")
            places = {**cards.environ, **(environ or {})}
            with device(
                simulator, places, made.lines.append, *settings, arguments=arguments, stderr=errors
            ) as made.process:
                yield made


def read(file: Path) -> Samples:
    """The samples of a mono WAV file."""
    with wave.open(str(file)) as source:
        return array.array("h", source.readframes(source.getnframes()))


def pcm(samples: Samples) -> bytes:
    """16 kHz samples as the microphone takes them."""
    return resampled(samples, WIRE_RATE, RATE).tobytes()


def loud(samples: Samples, rate: int, quiet_dbfs: float = -45.0) -> list[tuple[int, Samples]]:
    """The pieces of 100 ms that hold sound, with their places."""
    size = rate // 10
    pieces = [(at, samples[at : at + size]) for at in range(0, len(samples) - size, size)]
    return [(at, piece) for at, piece in pieces if dbfs(piece) > quiet_dbfs]


@dataclass(frozen=True)
class Trail:
    """How a sound went through: its `faults`, in words, and by how many dB it came out louder."""

    faults: list[str]
    gain_db: float = 0.0


def follow(recorded: Samples, sent: Samples, rate: int, around: int) -> Trail:
    """Look for `sent` in `recorded` by pieces of 100 ms, which must all be at one constant offset.

    `around` is where `sent` is expected to begin, right to 0.3 s. From a fault on, the new offset counts.
    """
    reach = 3 * rate // 10
    shift: int | None = None
    faults, gains = [], []
    for at, piece in loud(sent, rate):
        place = at + (around if shift is None else shift)
        if shift is None or max(likeness(recorded, place + d, piece) for d in (0, -1, 1, -2, 2)) < 0.9:
            found = find(recorded, piece, place - reach, place + reach)
            if found is None:
                faults.append(f"lost at {1000 * at // rate} ms")
                continue
            if shift is not None and abs(found - place) > rate // 1000:
                faults.append(f"{1000 * (found - place) / rate:+.0f} ms at {1000 * at // rate} ms")
            place, shift = found, found - at
        gains.append(dbfs(recorded[place : place + len(piece)]) - dbfs(piece))
    return Trail(faults, statistics.median(gains)) if gains else Trail(["nothing of it is there"])


def displaced(recorded: Samples, sent: Samples, rate: int, around: int) -> list[str]:
    """What was lost, inserted or left out on the way."""
    return follow(recorded, sent, rate, around).faults
