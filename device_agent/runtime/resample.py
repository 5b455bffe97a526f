"""Sample-rate conversion by libspeexdsp."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

from device_agent.errors import AudioError
from device_agent.runtime.speexdsp import LIBRARY, load

QUALITY = 3  # 86 dB alias rejection and 1.5 ms of delay for 0.4 ms of CPU per second of audio


class Resampler:
    """Converts mono s16le from `rate_in` to `rate_out` Hz, piece by piece, with its own state; one owner.

    `n` samples in give `n × rate_out / rate_in` out, once `drain` has fetched the 1.5 ms that the filter holds.
    Equal rates pass through and need no library. Raises AudioError where the library is needed and missing.
    """

    def __init__(self, rate_in: int, rate_out: int, library: str = LIBRARY) -> None:
        self.rate_in = rate_in
        self.rate_out = rate_out
        self._speex: Any = None
        if rate_in == rate_out:
            return
        try:
            self._speex = load(library)
        except OSError as error:
            raise AudioError(
                f"{library} is missing, which converts {rate_in} Hz to {rate_out} Hz: sudo apt install libspeexdsp1"
            ) from error
        fault = ctypes.c_int()
        state = self._speex.speex_resampler_init(1, rate_in, rate_out, QUALITY, ctypes.byref(fault))
        if not state:
            raise AudioError(f"{library} cannot convert {rate_in} Hz to {rate_out} Hz (error {fault.value})")
        self._state = ctypes.c_void_p(state)
        weakref.finalize(self, self._speex.speex_resampler_destroy, self._state)
        self._speex.speex_resampler_skip_zeros(self._state)

    def process(self, pcm: bytes) -> bytes:
        """The converted samples that can be given so far."""
        if self._speex is None or not pcm:
            return pcm
        count = len(pcm) // 2
        room = count * self.rate_out // self.rate_in + 2
        taken, given = ctypes.c_uint32(count), ctypes.c_uint32(room)
        out = ctypes.create_string_buffer(2 * room)
        self._speex.speex_resampler_process_int(
            self._state, 0, pcm, ctypes.byref(taken), out, ctypes.byref(given)
        )  # fmt: skip
        return out.raw[: 2 * given.value]

    def drain(self) -> bytes:
        """The samples still in the filter, at the end of a sound; then begins a new one."""
        if self._speex is None:
            return b""
        rest = self.process(bytes(2 * self._speex.speex_resampler_get_input_latency(self._state)))
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget the past: what follows has nothing to do with it."""
        if self._speex is not None:
            self._speex.speex_resampler_reset_mem(self._state)
            self._speex.speex_resampler_skip_zeros(self._state)
