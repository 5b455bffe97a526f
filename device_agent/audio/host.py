"""PortAudio as a library: started without noise, torn down without leaks (R15: the one import of pyaudio)."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
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


def start() -> Host:
    """Start PortAudio and list the cards (0.1–0.7 s, once). AudioError if it is not installed."""
    try:
        import pyaudio
    except ImportError as error:
        raise AudioError(f"PyAudio cannot be imported ({error}): sudo apt install python3-pyaudio") from error
    _silence_alsa()
    # Read when the first stream opens: against a hang in libpulse that no thread survives (see the file).
    os.environ.setdefault("PULSE_CLIENTCONFIG", str(Path(__file__).with_name("pulse-client.conf")))
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
