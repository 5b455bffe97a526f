"""G.711 µ-law ↔ 16-bit little-endian PCM, by table.

Sign and magnitude are coded apart, so that −x gets the code of x with the sign bit changed. Libraries that work
on the two's complement (audioop, SoX) differ by one step for the few negative samples on a decision value.
"""

from __future__ import annotations

import struct

_BIAS = 132


def decode(data: bytes) -> bytes:
    """µ-law bytes → s16le samples; 0xFF is silence, full scale is ±32124."""
    pcm = bytearray(2 * len(data))
    pcm[0::2] = data.translate(_LOW_BYTES)
    pcm[1::2] = data.translate(_HIGH_BYTES)
    return bytes(pcm)


def encode(pcm: bytes) -> bytes:
    """s16le samples → µ-law bytes; louder than ±32635 is clipped. Raises ValueError for half a sample."""
    count, rest = divmod(len(pcm), 2)
    if rest:
        raise ValueError("half a sample")
    return bytes(map(_CODE_OF_SAMPLE.__getitem__, struct.unpack(f"<{count}H", pcm)))


def _sample_of_code(code: int) -> int:
    """Bits, all inverted on the wire: sign, 3 of segment, 4 of step within it."""
    code = ~code & 0xFF
    segment, step = code >> 4 & 7, code & 15
    magnitude = ((step << 3) + _BIAS << segment) - _BIAS
    return -magnitude if code & 0x80 else magnitude


def _codes_of_samples() -> bytes:
    """The code of each sample, indexed by the sample's 16 bits read as unsigned.

    In biased magnitudes, which begin at 132, each of the 16 steps of segment s is 8 · 2^s samples wide.
    """
    biased = b"".join(bytes([~(16 * s + step) & 0xFF]) * (8 << s) for s in range(8) for step in range(16))
    positive = biased[_BIAS - 8 * 16 :].ljust(32_769, biased[-1:])
    negative = positive[:0:-1].translate(bytes(range(128)) * 2)  # from −32768 to −1, sign bit cleared
    return positive[:32_768] + negative


_PCM_OF_CODE = [struct.pack("<h", _sample_of_code(code)) for code in range(256)]
_LOW_BYTES = bytes(pcm[0] for pcm in _PCM_OF_CODE)
_HIGH_BYTES = bytes(pcm[1] for pcm in _PCM_OF_CODE)
_CODE_OF_SAMPLE = _codes_of_samples()
