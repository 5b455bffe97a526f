"""Two virtual sound cards without any hardware: a microphone that is fed, a loudspeaker that is recorded.

Where a PulseAudio (or PipeWire-Pulse) server already runs for this user, two null sinks are made in it and removed at
the end; its defaults stay as they are, because programs find the cards through the environment. Elsewhere, and for
who wants to kill it, a private PulseAudio daemon runs in a temporary directory. Nothing in the user's home is read or
written.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType

from device_agent.errors import AudioError
from device_agent.runtime.deadline import Deadline

RATE = 48_000
START_S = 15.0  # on a busy machine; as a rule it takes 0.2 s

# norewinds: a rewind rewrites samples that the monitor has already handed out, so the recording would lose up to
# 10 ms at the start of every sound. Small fragments keep the cards' own delay at that of real ones.
_DAEMON_CONF = f"""\
default-sample-rate = {RATE}
alternate-sample-rate = {RATE}
default-sample-channels = 1
default-fragments = 4
default-fragment-size-msec = 5
resample-method = speex-float-1
flat-volumes = no
exit-idle-time = -1
"""
_ALSA_CONF = """\
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


def _run(*command: str, environ: dict[str, str]) -> str:
    """The output of a short helper program; AudioError with its complaint if it fails."""
    try:
        done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=START_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AudioError(f"{command[0]} does not run ({error}): sudo apt install pulseaudio") from error
    if done.returncode:
        raise AudioError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def _listens(path: Path) -> bool:
    """Whether a server accepts connections there: its socket is to be seen a moment before."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class VirtualCards:
    """Both cards, for the time of a `with` block. `environ` makes a child process use them as its default cards.

    `own`: on a server of their own in any case.
    """

    def __init__(self, own: bool = False) -> None:
        self._own = own
        self.speaker = f"device_agent_speaker_{os.getpid()}"
        self.microphone = f"device_agent_microphone_{os.getpid()}"
        self.environ: dict[str, str] = {}
        self._modules: list[str] = []
        self._daemon: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> VirtualCards:
        self._directory = tempfile.TemporaryDirectory(prefix="device-agent-audio-")
        home = Path(self._directory.name)
        (home / "alsa.conf").write_text(_ALSA_CONF)
        self.environ = {
            "ALSA_CONFIG_PATH": str(home / "alsa.conf"),
            "PULSE_SINK": self.speaker,
            "PULSE_SOURCE": f"{self.microphone}.monitor",
        }
        try:
            if self._own or not self._server_answers():
                self._start_daemon(home)
            for sink in (self.speaker, self.microphone):
                self._modules.append(self._load_sink(sink))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the sinks and, if it is ours, the daemon."""
        try:
            for module in reversed(self._modules):
                _run("pactl", "unload-module", module, environ=self.environ)
        finally:
            self._modules.clear()
            if self._daemon is not None:
                self._daemon.terminate()
                self._daemon.wait()
                self._daemon = None
            if self._directory is not None:
                self._directory.cleanup()
                self._directory = None

    def kill_server(self) -> None:
        """Let the daemon, which must be ours, die as in a crash: both cards are gone."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        self._modules.clear()

    def revive_server(self) -> None:
        """Start it again at the same place, with the same cards."""
        assert self._directory is not None
        home = Path(self._directory.name)
        (home / "native").unlink(missing_ok=True)
        self._start_daemon(home)
        self._modules = [self._load_sink(sink) for sink in (self.speaker, self.microphone)]

    def stand_still(self, on: bool) -> None:
        """Let the loudspeaker take nothing, or samples again."""
        _run("pactl", "suspend-sink", self.speaker, "1" if on else "0", environ=self.environ)

    def _server_answers(self) -> bool:
        # The socket is looked for first, because pactl leaves files in the user's home.
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        if not os.environ.get("PULSE_SERVER") and not Path(runtime, "pulse", "native").exists():
            return False
        try:
            _run("pactl", "info", environ={"PULSE_CLIENTCONFIG": os.devnull})
        except AudioError:
            return False
        return True

    def _start_daemon(self, home: Path) -> None:
        """Start a PulseAudio of our own and wait until it answers."""
        native = home / "native"
        (home / "daemon.conf").write_text(_DAEMON_CONF)
        (home / "default.pa").write_text(f"load-module module-native-protocol-unix socket={native} auth-anonymous=1\n")
        self.environ |= {
            "PULSE_SERVER": f"unix:{native}",
            "PULSE_RUNTIME_PATH": str(home),
            "PULSE_COOKIE": str(home / "cookie"),
        }
        private = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "PULSE_CONFIG_PATH": str(home),
            "PULSE_STATE_PATH": str(home),
            "PULSE_RUNTIME_PATH": str(home),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "DBUS_SYSTEM_BUS_ADDRESS": "disabled:",
        }
        environ = {k: v for k, v in os.environ.items() if k not in ("PULSE_SERVER", "PULSE_SINK", "PULSE_SOURCE")}
        command = ("pulseaudio", "-n", "-F", str(home / "default.pa"), "--daemonize=no", "--use-pid-file=no",
                   "--exit-idle-time=-1", "--disable-shm=no", f"--log-target=file:{home / 'log'}")  # fmt: skip
        try:
            self._daemon = subprocess.Popen(
                command, env={**environ, **private}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise AudioError("pulseaudio is not installed: sudo apt install pulseaudio") from error
        self._await(home)

    def _await(self, home: Path) -> None:
        deadline = Deadline(START_S)
        pause = threading.Event()
        while not _listens(home / "native"):
            assert self._daemon is not None
            if deadline.passed or self._daemon.poll() is not None:
                log = home / "log"
                said = log.read_text().strip().splitlines()[-1:] if log.exists() else []
                raise AudioError(f"pulseaudio did not start: {''.join(said) or 'it says nothing'}")
            pause.wait(0.02)

    def _load_sink(self, name: str) -> str:
        return _run(
            "pactl", "load-module", "module-null-sink", f"sink_name={name}", f"rate={RATE}", "channels=1",
            "format=s16le", "norewinds=1", f"sink_properties=device.description={name}", environ=self.environ,
        )  # fmt: skip


class Recorder:
    """Records what a card plays (its monitor), from `with` to the end of the block: mono s16le at 48 kHz.

    It stays open all the time, because a null sink that nobody listens to renders in blocks of 2 s. Owns its reader
    thread, which blocks in reading from `parec` and ends when that is terminated.
    """

    def __init__(self, cards: VirtualCards, sink: str = "") -> None:
        self._cards = cards
        self._sink = sink or cards.speaker
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._origin = float("inf")
        self._first = threading.Event()

    def __enter__(self) -> Recorder:
        self._process = subprocess.Popen(
            ("parec", f"--device={self._sink}.monitor", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=1",
             "--latency-msec=10"), env={**os.environ, **self._cards.environ}, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, name="recorder", daemon=True)
        self._thread.start()
        if not self._first.wait(START_S):
            self.__exit__(None, None, None)
            raise AudioError(f"nothing can be recorded from {self._sink}.monitor: is the sound server running?")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := self._process.stdout.read(65536):
            now = time.monotonic()
            self._pieces.append(piece)
            self._bytes += len(piece)
            # Each piece can come late, never early: the least difference is the truth.
            self._origin = min(self._origin, now - self._bytes / (2 * RATE))
            self._first.set()

    @property
    def origin(self) -> float:
        """Monotonic time of the first sample: sample n sounded at ``origin + n / 48000``."""
        return self._origin

    def samples(self, since: float = 0.0, until: float = float("inf")) -> array.array[int]:
        """What was recorded between two monotonic times."""
        pcm = b"".join(self._pieces)
        first = max(0, round((since - self._origin) * RATE))
        end = len(pcm) // 2 if until == float("inf") else max(0, round((until - self._origin) * RATE))
        found = array.array("h")
        found.frombytes(pcm[2 * first : 2 * min(end, len(pcm) // 2)])
        return found


class Microphone:
    """Feeds the virtual microphone without a pause: what `say` queues, else silence. Mono s16le at 48 kHz.

    Owns its writer thread, which blocks in writing to `pacat` (that is what paces it) and ends when that is
    terminated. The pipe is one page, so that what is said is heard about 0.2 s later; when exactly, a `Recorder` of
    this card tells.
    """

    PIECE = RATE // 100 * 2  # bytes

    def __init__(self, cards: VirtualCards) -> None:
        self._cards = cards
        self._queue: deque[bytes] = deque()

    def __enter__(self) -> Microphone:
        self._process = subprocess.Popen(
            ("pacat", "--playback", f"--device={self._cards.microphone}", "--raw", "--format=s16le", f"--rate={RATE}",
             "--channels=1", "--latency-msec=100"), env={**os.environ, **self._cards.environ}, stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._write, name="microphone", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def say(self, pcm: bytes) -> None:
        """Queue samples behind those already queued."""
        self._queue.append(pcm)

    @property
    def quiet(self) -> bool:
        """Whether all that was queued has been handed over."""
        return not self._queue

    def _write(self) -> None:
        assert self._process.stdin is not None
        pipe = self._process.stdin
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        pending = b""
        with pipe, contextlib.suppress(BrokenPipeError):  # the block has ended
            while True:
                while len(pending) < self.PIECE and self._queue:
                    pending += self._queue.popleft()
                piece, pending = pending[: self.PIECE].ljust(self.PIECE, b"\0"), pending[self.PIECE :]
                pipe.write(piece)
