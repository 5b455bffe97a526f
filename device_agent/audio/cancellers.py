"""Two echo cancellers of one shape: 20 ms of the microphone in, 20 ms without the loudspeaker's sound out."""

from __future__ import annotations

import ctypes
import weakref
from importlib.util import find_spec
from typing import Any, Protocol

from device_agent.audio.reference import RATE, Reference
from device_agent.errors import AudioError
from device_agent.runtime import speexdsp
from device_agent.runtime.ring import FRAME_BYTES, FRAME_SAMPLES

AEC_INSTALL = "pip install 'device-agent[aec]'"
_TAIL_MS = 256  # bulk delay (80 ms is usual) and the room
_ECHO_SET_RATE, _PREPROCESS_SET_ECHO = 24, 24  # speex_echo.h, speex_preprocess.h
_TEN_MS = RATE // 100


class Canceller(Protocol):
    """Owned by the capture thread."""

    name: str

    def process(self, near: bytes) -> bytes:
        """The next 640 bytes of the microphone, cleaned."""


class SpeexCanceller:
    """libspeexdsp's canceller with its residual suppression: 5 ms of CPU per second, delay 20 ms.

    It needs one clock for both directions (one USB speakerphone, one HAT) and a loudspeaker that does not distort.
    """

    name = "speex"

    def __init__(self, reference: Reference) -> None:
        try:
            speex = speexdsp.load()
        except OSError as error:
            raise AudioError(f"{speexdsp.LIBRARY} is missing: sudo apt install libspeexdsp1") from error
        self._speex = speex
        self._reference = reference
        self._echo = ctypes.c_void_p(speex.speex_echo_state_init(FRAME_SAMPLES, RATE * _TAIL_MS // 1000))
        self._preprocess = ctypes.c_void_p(speex.speex_preprocess_state_init(FRAME_SAMPLES, RATE))
        speex.speex_echo_ctl(self._echo, _ECHO_SET_RATE, ctypes.byref(ctypes.c_int(RATE)))
        speex.speex_preprocess_ctl(self._preprocess, _PREPROCESS_SET_ECHO, self._echo)
        self._out = ctypes.create_string_buffer(FRAME_BYTES)
        weakref.finalize(self, _destroy, speex, self._preprocess, self._echo)

    def process(self, near: bytes) -> bytes:
        self._speex.speex_echo_cancellation(self._echo, near, self._reference.frame(), self._out)
        self._speex.speex_preprocess_run(self._preprocess, self._out)
        return self._out.raw


def _destroy(speex: ctypes.CDLL, preprocess: ctypes.c_void_p, echo: ctypes.c_void_p) -> None:
    speex.speex_preprocess_state_destroy(preprocess)
    speex.speex_echo_state_destroy(echo)


class WebrtcCanceller:
    """WebRTC's AEC3 with noise suppression and high-pass, from livekit: 8 ms of CPU per second, delay 14 ms.

    It finds the delay and follows two clocks by itself, if its reference has no holes.
    """

    name = "aec"

    def __init__(self, reference: Reference) -> None:
        try:
            from livekit.rtc import AudioFrame
            from livekit.rtc.apm import AudioProcessingModule
        except ImportError as error:
            raise AudioError(f"audio.echo = aec needs livekit ({error}): {AEC_INSTALL}") from error
        self._frame: Any = AudioFrame
        self._apm = AudioProcessingModule(echo_cancellation=True, noise_suppression=True, high_pass_filter=True)
        # A first guess, which it corrects by itself: told once it does the same as told before each frame.
        self._apm.set_stream_delay_ms(0)
        self._reference = reference

    def process(self, near: bytes) -> bytes:
        played = self._reference.all(2 * _TEN_MS)
        for at in range(0, len(played), 2 * _TEN_MS):
            self._apm.process_reverse_stream(self._ten_ms(played, at))
        out = b""
        for at in range(0, len(near), 2 * _TEN_MS):
            frame = self._ten_ms(near, at)
            self._apm.process_stream(frame)
            out += bytes(frame.data)
        return out

    def _ten_ms(self, pcm: bytes, at: int) -> Any:
        return self._frame(bytearray(pcm[at : at + 2 * _TEN_MS]), RATE, 1, _TEN_MS)


def webrtc_available() -> bool:
    """Whether livekit is installed; it is not imported, which takes half a second."""
    return find_spec("livekit") is not None
