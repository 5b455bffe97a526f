"""µ-law against G.711's own segment arithmetic, exhaustively."""

from __future__ import annotations

import importlib.util
import struct
from types import ModuleType

import pytest


@pytest.fixture
def ulaw() -> ModuleType:
    """The module as it is loaded now: its tables are made then."""
    spec = importlib.util.find_spec("device_agent.protocol.ulaw")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_encode(sample: int) -> int:
    """G.711 as the textbooks write it: clip, add the bias, find the segment, take four bits, invert."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    segment, mask = 7, 0x4000
    while segment > 0 and not magnitude & mask:
        segment, mask = segment - 1, mask >> 1
    mantissa = magnitude >> (segment + 3) & 0x0F
    return (sign | segment << 4 | mantissa) ^ 0xFF


def reference_decode(code: int) -> int:
    """G.711 backwards, from the start values of its eight segments."""
    starts = (0, 132, 396, 924, 1980, 4092, 8316, 16764)
    code ^= 0xFF
    segment, mantissa = code >> 4 & 0x07, code & 0x0F
    magnitude = starts[segment] + (mantissa << (segment + 3))
    return -magnitude if code & 0x80 else magnitude


def test_all_65536_samples_are_encoded_bit_exactly(ulaw: ModuleType) -> None:
    """Every 16-bit sample gets the code that G.711 gives it."""
    samples = range(-32768, 32768)
    expected = bytes(map(reference_encode, samples))
    assert ulaw.encode(struct.pack("<65536h", *samples)) == expected


def test_all_256_codes_are_decoded_bit_exactly(ulaw: ModuleType) -> None:
    """Every code gets the sample that G.711 gives it."""
    expected = struct.pack("<256h", *map(reference_decode, range(256)))
    assert ulaw.decode(bytes(range(256))) == expected


@pytest.mark.parametrize(("code", "sample"), [(0xFF, 0), (0x80, 32124), (0x00, -32124), (0xF0, 120), (0x7E, -8)])
def test_published_values(ulaw: ModuleType, code: int, sample: int) -> None:
    """Values that stand in every published table hold in both directions."""
    pcm = struct.pack("<h", sample)
    assert ulaw.decode(bytes([code])) == pcm
    assert ulaw.encode(pcm) == bytes([code])


def test_transcoding_twice_changes_nothing(ulaw: ModuleType) -> None:
    """A decoded code encodes to itself; only minus zero becomes zero."""
    codes = bytes(range(256))
    assert ulaw.encode(ulaw.decode(codes)) == codes.replace(b"\x7f", b"\xff")


def test_half_a_sample_is_refused(ulaw: ModuleType) -> None:
    """An odd number of PCM bytes is an error, not a shifted waveform."""
    with pytest.raises(ValueError, match=r"^half a sample$"):
        ulaw.encode(b"\0\0\0")


def test_nothing_is_nothing(ulaw: ModuleType) -> None:
    """Empty audio stays empty both ways."""
    assert ulaw.encode(b"") == ulaw.decode(b"") == b""
