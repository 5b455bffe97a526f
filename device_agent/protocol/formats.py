"""The seven audio formats of the wire. All are mono; inside we speak s16le."""

from __future__ import annotations

from device_agent.protocol import ulaw as g711
from device_agent.records import record


class FormatError(ValueError):
    """A format that is not one of the seven, or PCM that ends in half a sample."""


@record
class AudioFormat:
    """One of `FORMATS`; `rate` is in samples per second."""

    name: str
    rate: int
    ulaw: bool

    @property
    def sample_bytes(self) -> int:
        """The size of one sample on the wire."""
        return 1 if self.ulaw else 2

    def samples(self, ms: float) -> int:
        """How many whole samples fit into `ms` milliseconds."""
        return int(self.rate * ms / 1000)

    def duration_ms(self, data: bytes) -> float:
        """How long `data` sounds, in milliseconds."""
        return len(data) / self.sample_bytes / self.rate * 1000

    def silence(self, ms: float) -> bytes:
        """Silence of `ms` milliseconds, as the wire has it."""
        return (b"\xff" if self.ulaw else b"\x00\x00") * self.samples(ms)

    def to_pcm(self, data: bytes) -> bytes:
        """Wire → s16le at the wire's rate. Raises FormatError for half a sample."""
        return g711.decode(data) if self.ulaw else _whole(data)

    def from_pcm(self, pcm: bytes) -> bytes:
        """s16le at the wire's rate → wire. Raises FormatError for half a sample."""
        return g711.encode(_whole(pcm)) if self.ulaw else _whole(pcm)


def parse(name: str) -> AudioFormat:
    """The format of that wire name. Raises FormatError."""
    if name not in FORMATS:
        raise FormatError(f"audio format {name[:40]!r} is not one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % 2:
        raise FormatError(f"{len(pcm)} bytes of 16-bit PCM end in half a sample")
    return pcm


FORMATS = {
    f"pcm_{rate}": AudioFormat(f"pcm_{rate}", rate, ulaw=False)
    for rate in (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
} | {"ulaw_8000": AudioFormat("ulaw_8000", 8_000, ulaw=True)}
