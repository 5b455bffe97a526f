"""A synthetic visitor: speaks with flite, listens to the loudspeaker, and talks when it is its turn.

It knows nothing of the device's inner state: like a person it only hears whether the loudspeaker sounds.
"""

from __future__ import annotations

import array
import subprocess
import tempfile
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_agent.bench.virtual_audio import RATE, Microphone, Recorder
from device_agent.errors import AudioError
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.resample import Resampler

SOUND = 200  # a peak of −44 dBFS within the window counts as sound
LOOK_S = 0.05
PATIENCE_S = 12.0


@dataclass(frozen=True, slots=True)
class Line:
    """Something to say. `after_s`: not at the end of the agent's reply but this long into it, over its voice."""

    text: str
    after_s: float | None = None
    pcm: bytes = b""


SCRIPT = (
    Line("What time is it?"),
    Line("Set a timer for ten seconds."),
    Line("Tell me a joke."),
    Line("Set the volume to fifty percent.", after_s=1.2),
    Line("Goodbye."),
)


def speech(text: str) -> bytes:
    """`text` in flite's voice as mono s16le at 48 kHz. Raises `AudioError` if flite is missing."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "speech.wav"
        try:
            subprocess.run(("flite", "-voice", "rms", "-t", text, "-o", str(file)), check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise AudioError("flite is needed to speak: sudo apt install flite") from error
        return read_wav(file)


def read_wav(file: Path) -> bytes:
    """A WAV file as mono s16le at 48 kHz (the left channel of several). Raises `AudioError` for other kinds."""
    try:
        with wave.open(str(file)) as source:
            if source.getsampwidth() != 2:
                raise AudioError(f"{file}: {8 * source.getsampwidth()} bits per sample; convert it to 16")
            samples = array.array("h", source.readframes(source.getnframes()))
            pcm = samples[:: source.getnchannels()].tobytes()
            rate = source.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise AudioError(f"{file}: not a WAV file that can be read ({error})") from error
    return pcm if rate == RATE else Resampler(rate, RATE).process(pcm)


class Visitor:
    """Speaks its `lines` into the microphone, each when the agent has fallen silent or, as told, over its voice."""

    def __init__(
        self, microphone: Microphone, recorder: Recorder, say: Callable[[str], None], gone: Callable[[], bool]
    ) -> None:
        self._microphone = microphone
        self._recorder = recorder
        self._say = say
        self._gone = gone
        self._pause = threading.Event()

    def converse(self, lines: tuple[Line, ...]) -> None:
        """The whole visit, from the agent's greeting to its farewell. Ends early when nobody is there any more."""
        spoken = [(line, line.pcm or speech(line.text)) for line in lines]
        self._hear_out()
        for line, pcm in spoken:
            if line.after_s is not None:
                self._until(self.sounding)
                self._pause.wait(line.after_s)
            self._say(f"visitor says  “{line.text}”")
            self._microphone.say(pcm)
            self._until(lambda: self._microphone.quiet)
            if line.after_s is not None:
                self._until(lambda: not self.sounding(0.3))  # the reply that was interrupted
            if not self._interrupts_next(lines, line):
                self._hear_out()

    @staticmethod
    def _interrupts_next(lines: tuple[Line, ...], line: Line) -> bool:
        after = lines[lines.index(line) + 1 :][:1]
        return bool(after) and after[0].after_s is not None

    def sounding(self, window_s: float = 0.1) -> bool:
        """Whether the loudspeaker sounded within the last `window_s`."""
        recent = self._recorder.samples(since=time.monotonic() - window_s - 0.05)
        return max(map(abs, recent), default=0) > SOUND

    def _hear_out(self) -> None:
        """Wait until the agent has begun, and then until it has been silent for 0.7 s."""
        self._until(self.sounding)
        self._until(lambda: not self.sounding(0.7))

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = Deadline(PATIENCE_S)
        while not holds() and not deadline.passed and not self._gone():
            self._pause.wait(LOOK_S)
