"""Debian's libspeexdsp through ctypes: loaded once, by whoever needs it first (R15: this module owns it)."""

from __future__ import annotations

import ctypes
from functools import cache

LIBRARY = "libspeexdsp.so.1"


@cache
def load(library: str = LIBRARY) -> ctypes.CDLL:
    """The library with the types of the functions that we call. Raises OSError where it is missing."""
    speex = ctypes.CDLL(library)
    number, pointer, samples = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
    count = ctypes.POINTER(ctypes.c_uint32)
    speex.speex_resampler_init.restype = pointer
    speex.speex_resampler_init.argtypes = [ctypes.c_uint32] * 3 + [number, ctypes.POINTER(number)]
    speex.speex_resampler_process_int.argtypes = [pointer, ctypes.c_uint32, samples, count, samples, count]
    for function in ("destroy", "reset_mem", "skip_zeros", "get_input_latency"):
        getattr(speex, f"speex_resampler_{function}").argtypes = [pointer]
    for state, arguments in (("echo", [number, number]), ("preprocess", [number, number])):
        getattr(speex, f"speex_{state}_state_init").restype = pointer
        getattr(speex, f"speex_{state}_state_init").argtypes = arguments
        getattr(speex, f"speex_{state}_state_destroy").argtypes = [pointer]
        getattr(speex, f"speex_{state}_ctl").argtypes = [pointer, number, pointer]
    speex.speex_echo_cancellation.argtypes = [pointer, samples, samples, samples]
    speex.speex_preprocess_run.argtypes = [pointer, samples]
    return speex


def available(library: str = LIBRARY) -> bool:
    """Whether this system has it."""
    try:
        load(library)
    except OSError:
        return False
    return True
