"""The demo: a device, a local agent and a synthetic visitor hold a conversation over virtual sound cards.

Three processes: this one (visitor, cards, recording), the simulator, and `device-agent run`, the product itself.
"""

from __future__ import annotations

import array
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from device_agent.audio.tape import read_tape
from device_agent.bench.measure import measure
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.bench.visitor import Line, Visitor
from device_agent.errors import AudioError, DeviceAgentError
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.resample import Resampler

WAV_RATE, CARD_RATE = 16_000, 48_000
START_S = 30.0
STOP_S = 5.0
LOOK_S = 0.01
SILENCE_DBFS = -90.0
# As the launcher of the Debian package, whose modules lie where no interpreter looks by itself.
_LAUNCH = "import sys; sys.path.insert(0, {!r}); from device_agent.__main__ import main; sys.exit(main())"
PROGRAM = (sys.executable, "-c", _LAUNCH.format(str(Path(__file__).parents[2])))


class TimelineClock:
    """Puts the visitor's lines on the device's time axis, whose zero is the device's first line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._zero = time.monotonic()
        self._first = True

    def device_says(self, line: str) -> None:
        if self._first:
            self._first, self._zero = False, time.monotonic()
        self._say(line)

    def visitor_says(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._zero:7.3f} s  {text}")


class Simulator:
    """The local agent as a child process. `events` grows while it runs; each is what the server itself witnessed."""

    def __init__(self, record: Path, *options: str, stderr: IO[str] | int | None = None) -> None:
        self.record = record
        self._stderr = stderr
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self._options = options
        self._ended = threading.Event()

    def __enter__(self) -> Simulator:
        command = (*PROGRAM, "bench", "simulate", "--control", "--events", "-", "--record", str(self.record))
        self._process = subprocess.Popen(
            (*command, *self._options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        self._thread = threading.Thread(target=self._read, name="simulator", daemon=True)
        self._thread.start()
        try:
            self._await(lambda: self.url, START_S)
            if not self.url:
                raise DeviceAgentError("the simulator did not start: see its message above")
        except BaseException:  # Ctrl-C too: no process is left behind
            self.stop()
            raise
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, as a server that goes down: its connections break. May be called again."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def of_kind(self, kind: str, since: float = 0.0, **facts: Any) -> list[dict[str, Any]]:
        """The events of one kind that came at or after a monotonic time, with these facts."""
        return [event for event in list(self.events) if _fits(event, kind, since, facts)]

    def wait(self, kind: str, since: float = 0.0, timeout: float = 10.0, **facts: Any) -> dict[str, Any]:
        """The first such event, past or to come. Raises `DeviceAgentError` when it does not come."""
        self._await(lambda: self.of_kind(kind, since, **facts), timeout)
        if found := self.of_kind(kind, since, **facts):
            return found[0]
        raise DeviceAgentError(f"the server did not see {kind} {facts or ''} within {timeout:.0f} s")

    def _await(self, holds: Callable[[], object], timeout: float) -> None:
        deadline = Deadline(timeout)
        while not holds() and not deadline.passed and not self._ended.is_set():
            self._ended.wait(LOOK_S)

    def order(self, do: str, **details: Any) -> float:
        """One line of the control channel; the time at which it was given."""
        assert self._process.stdin is not None
        now = time.monotonic()
        self._process.stdin.write(json.dumps({"do": do} | details) + "\n")
        self._process.stdin.flush()
        return now

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.url = line.split()[-1]
            elif line.startswith("{"):
                self.events.append(json.loads(line))
        self._ended.set()


def _fits(event: dict[str, Any], kind: str, since: float, facts: dict[str, Any]) -> bool:
    return event["kind"] == kind and event["t"] >= since and facts.items() <= event.items()


@contextmanager
def device(
    simulator: Simulator,
    environ: dict[str, str],
    say: Callable[[str], None],
    *settings: str,
    arguments: tuple[str, ...] = ("--timeline",),
    stderr: IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """`device-agent run` as a child process with configuration and state of its own: the user's are not touched."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "demo.toml"
        config.write_text("")
        tools = Path(__file__).with_name("demo_tools.py")
        # Without our own sounds: the recording is measured by what the agent says.
        quiet = ("sounds.earcons=false", "sounds.speech=false")
        chosen = ("agent.id=demo", f"server.url={simulator.url}", f"tools.files={tools}", *quiet, *settings)
        options = [word for setting in chosen for word in ("--set", setting)]
        command = (*PROGRAM, "run", "--config", str(config), *arguments, *options)
        with running(command, {**os.environ, "STATE_DIRECTORY": directory, **environ}, say, stderr) as process:
            yield process


@contextmanager
def running(
    command: Sequence[str], environ: dict[str, str], say: Callable[[str], None], stderr: IO[str] | int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The program as a child process; each line that it writes goes to `say`. At the end it is stopped."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=stderr, text=True)
    reader = threading.Thread(target=_forward, args=(process, say), name="timeline", daemon=True)
    reader.start()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(STOP_S)  # its last lines


def _forward(process: subprocess.Popen[str], say: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        say(line.rstrip())


def converse(lines: tuple[Line, ...], output: Path, say: Callable[[str], None]) -> int:
    """Hold the visitor's conversation; returns the exit code, 0 if the server saw all of it and no violation."""
    clock = TimelineClock(say)
    with tempfile.TemporaryDirectory() as directory:
        heard = Path(directory) / "heard.wav"
        with VirtualCards() as cards, Recorder(cards) as recorder, Microphone(cards) as microphone:
            with (
                Simulator(heard) as simulator,
                device(
                    simulator, cards.environ, clock.device_says, "activation.modes=always-on", "audio.echo=off"
                ) as process,
            ):
                visitor = Visitor(microphone, recorder, clock.visitor_says, gone=lambda: process.poll() is not None)
                visitor.converse(lines)
            played = recorder.origin, recorder.samples()
            write_conversation(output, heard, simulator, *played)
        code = report(simulator, recorder, lines, say)
    say(f"{output}: left is what the server received, right is what the loudspeaker played.")
    return code


def echo_call(output: Path, seconds: float, say: Callable[[str], None]) -> int:
    """Talk to your own sound card: the simulator plays back what it heard and says how loud it was.

    `output` gets what the server heard (left) and what was handed to the sound card (right). Where the microphone
    gave nothing the exit code is 66.
    """
    say("Speak; after each sentence you hear what the far end heard, with level and clipping. Ctrl-C ends.")
    with tempfile.TemporaryDirectory() as directory:
        heard, tape = Path(directory) / "heard.wav", Path(directory) / "played"
        arguments = ("--timeline", "--record-played", str(tape))
        greeting = "I play back what you say."
        with Simulator(heard, "--echo", "--first-message", greeting) as simulator:
            with (
                device(simulator, {}, say, "activation.modes=always-on", arguments=arguments) as process,
                # Ctrl-C reaches the device as well: it says goodbye by itself.
                suppress(subprocess.TimeoutExpired, KeyboardInterrupt),
            ):
                process.wait(seconds)
            levels = [event["dbfs"] for event in simulator.of_kind("audio")]
            turns = len(simulator.of_kind("turn"))
        start, rate, samples = read_tape(tape)
        if rate not in (0, CARD_RATE):
            samples = array.array("h", Resampler(rate, CARD_RATE).process(samples.tobytes()))
        write_conversation(output, heard, simulator, start, samples)
    say("")
    say(f"The far end heard {turns} sentences.")
    say(f"{output}: left is what it heard, right is what was handed to the sound card.")
    if max(levels, default=-120.0) <= SILENCE_DBFS:
        raise AudioError("the microphone gave nothing but silence: is it the right one, and not muted?")
    say(f"Loudest 20 ms: {max(levels):.0f} dBFS; background: {statistics.quantiles(levels, n=10)[0]:.0f} dBFS.")
    return 0


def write_conversation(
    output: Path, heard: Path, simulator: Simulator, origin: float, played: array.array[int]
) -> None:
    """Left: the samples that the server received. Right: `played` (48 kHz), whose first sample sounded at `origin`."""
    audio = simulator.of_kind("audio")
    with wave.open(str(heard)) as source:
        left = array.array("h", source.readframes(source.getnframes()))
    right = array.array("h")
    right.frombytes(Resampler(CARD_RATE, WAV_RATE).process(played.tobytes()))
    if audio and played:  # the first chunk's samples end when it arrived
        lead = round((audio[0]["t"] - origin) * WAV_RATE) - audio[0]["n"]
        left = array.array("h", bytes(2 * max(0, lead))) + left[max(0, -lead) :]
    length = max(len(left), len(right))
    both = array.array("h", bytes(4 * length))
    both[0 : 2 * len(left) : 2], both[1 : 2 * len(right) : 2] = left, right
    with wave.open(str(output), "wb") as target:
        target.setnchannels(2)
        target.setsampwidth(2)
        target.setframerate(WAV_RATE)
        target.writeframes(both.tobytes())


def report(simulator: Simulator, recorder: Recorder, lines: tuple[Line, ...], say: Callable[[str], None]) -> int:
    """What the server itself saw and what the loudspeaker played; 0 if every sentence of ours was understood."""
    violations, turns = simulator.of_kind("violation"), simulator.of_kind("turn")
    deaf = any("recogniser" in event["text"] for event in simulator.of_kind("substitute"))
    understood = turns if deaf else [turn for turn in turns if turn["transcript"]]
    wanted = sum(not line.pcm for line in lines)  # a recording of somebody's own need not be understood
    did = "heard" if deaf else "understood"
    say("")
    say(f"The server {did} {len(understood)} of {len(lines)} sentences and saw {len(violations)} protocol violations.")
    for violation in violations:
        say(f"  violation: {violation}")
    say("Measured at the loudspeaker:")
    for line in measure(recorder, simulator.events).lines():
        say(line)
    return 0 if len(understood) >= wanted and not violations else 1
