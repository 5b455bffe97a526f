"""The seven audio formats. µ-law is done on the simulator's own account: a witness shares no tables with its client."""

from __future__ import annotations

from array import array

from device_agent.runtime.resample import Resampler
from device_agent.simulator.hearing import RATE


def rate(name: str) -> int:
    """Samples per second of a wire format such as ``ulaw_8000``."""
    return int(name.rpartition("_")[2])


def sample_bytes(name: str) -> int:
    """Bytes per sample of a wire format."""
    return 1 if name.startswith("ulaw") else 2


def _expand(code: int) -> int:
    """G.711 µ-law: the s16 value of a code."""
    code = ~code & 0xFF
    value = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -value if code & 0x80 else value


_EXPANDED = array("h", [_expand(code) for code in range(256)])


def _compress(value: int) -> int:
    """G.711 µ-law: the code of an s16 value."""
    magnitude = min(abs(value), 32_635) + 0x84
    exponent = magnitude.bit_length() - 8
    return ~((value < 0) << 7 | exponent << 4 | magnitude >> exponent + 3 & 0x0F) & 0xFF


class FromWire:
    """Turns received bytes into 16 kHz s16. Keeps the resampler's state: one per connection."""

    def __init__(self, name: str) -> None:
        self._ulaw = name.startswith("ulaw")
        self._resampler = Resampler(rate(name), RATE)

    def decode(self, data: bytes) -> bytes:
        pcm = array("h", [_EXPANDED[code] for code in data]).tobytes() if self._ulaw else data
        return self._resampler.process(pcm)


def to_wire(pcm: bytes, name: str) -> bytes:
    """A whole reply, 16 kHz s16, in the wire format `name`."""
    resampler = Resampler(RATE, rate(name))
    converted = resampler.process(pcm) + resampler.drain()
    return bytes(map(_compress, array("h", converted))) if name.startswith("ulaw") else converted
