"""PortAudio as a library: started without noise, torn down without leaks (R15: the one import of pyaudio)."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import tempfile
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from device_agent.errors import AudioError

log = logging.getLogger(__name__)

PA_INT16 = 8


class Stream(Protocol):
    """What we use of `pyaudio.Stream`. One thread opens, uses and closes it: anything else hangs or crashes."""

    def get_read_available(self) -> int: ...
    def get_write_available(self) -> int: ...
    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes: ...
    def write(self, frames: bytes, num_frames: int, exception_on_underflow: bool) -> None: ...
    def close(self) -> None: ...


class Host(Protocol):
    """What we use of `pyaudio.PyAudio`."""

    def get_device_count(self) -> int: ...
    def get_device_info_by_index(self, device_index: int) -> Any: ...
    def get_default_input_device_info(self) -> Any: ...
    def get_default_output_device_info(self) -> Any: ...
    def open(self, **settings: Any) -> Any: ...
    def terminate(self) -> None: ...


@cache
def _silence_alsa() -> Any:
    """Stop ALSA's own complaints about cards that are not there. The result must live as long as the process."""
    handler = ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
    )(lambda *_: None)  # fmt: skip
    try:
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(handler)
    except (OSError, AttributeError) as error:
        log.debug("alsa-handler-missing error=%s", error)
    return handler


class Noise:
    """Catches what C libraries write to stderr while PortAudio starts or opens, for the debug log.

    Descriptor 2 belongs to the whole process: another thread's line may land in the debug log too, for some
    milliseconds. Used under the lock of `Devices` only, so that two users never restore each other's file.
    """

    def __init__(self) -> None:
        self._stderr = os.dup(2)
        self._file = os.memfd_create("portaudio-noise")
        for descriptor in (self._stderr, self._file):
            weakref.finalize(self, os.close, descriptor)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        os.dup2(self._file, 2)
        try:
            yield
        finally:
            os.dup2(self._stderr, 2)
            self._report()

    def _report(self) -> None:
        size = os.lseek(self._file, 0, os.SEEK_CUR)
        for line in os.pread(self._file, size, 0).decode(errors="replace").splitlines():
            log.debug("portaudio %s", line)
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)


@cache
def _tame_pulse() -> Any:
    """Forbid libpulse the shared memory, in a configuration that it reads when the first stream opens.

    With it, a server that dies while a piece of the microphone's sound is half read leaves the library waiting for the
    reader, who waits for the library, for ever: no thread survives that. Through the socket, one voice costs no more.
    The result, a file, must live as long as the process. A person's PULSE_CLIENTCONFIG is left as it is.
    """
    if "PULSE_CLIENTCONFIG" in os.environ:
        return None
    try:
        file = tempfile.NamedTemporaryFile("w", prefix="device-agent-pulse-", suffix=".conf")  # noqa: SIM115 (kept)
        file.write(pulse_settings(Path.home(), Path("/etc/pulse")))
        file.flush()
    except (OSError, RuntimeError) as error:  # no place to write, or no home: a hang of that kind ends in a restart
        log.debug("pulse-settings error=%s", error)
        return None
    os.environ["PULSE_CLIENTCONFIG"] = file.name
    return file


def pulse_settings(home: Path, system: Path) -> str:
    """All that libpulse would read by itself (pulse-client.conf(5)), and after it that no memory is shared."""
    bases = (home / ".config/pulse/client.conf", home / ".pulse/client.conf", system / "client.conf")
    base = next((file for file in bases if file.is_file()), bases[-1])
    parts = [base, *sorted(base.with_name("client.conf.d").glob("*.conf"))]
    return "".join(f".include {part}\n" for part in parts if part.is_file()) + "enable-shm = no\n"


def start() -> Host:
    """Start PortAudio and list the cards (0.1–0.7 s, once). AudioError if it is not installed."""
    try:
        import pyaudio
    except ImportError as error:
        raise AudioError(f"PyAudio cannot be imported ({error}): sudo apt install python3-pyaudio") from error
    _silence_alsa()
    _tame_pulse()
    host: Host = pyaudio.PyAudio()
    return host


def sweep() -> int:
    """Give back what PortAudio leaks of a card that was pulled out, so that it can return; how much it was.

    PortAudio skips closing such a card. Only when all streams are closed and PortAudio is terminated.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/dev/snd/pcm" in line and line.endswith("(deleted)"):
            first, end = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
            libc.munmap(ctypes.c_void_p(first), ctypes.c_size_t(end - first))
            found += 1
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
            target = str(entry.readlink())
            if target.startswith("/dev/snd/pcm") and target.endswith("(deleted)"):
                os.close(int(entry.name))
                found += 1
    return found
