"""Opens a card with the first rate and channel count that it takes. Sample formats are converted by PortAudio."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from device_agent.audio import host
from device_agent.audio.choice import Candidate
from device_agent.errors import AudioError
from device_agent.runtime import speexdsp

RATE = 16_000
INPUT_FPB_S = 0.04  # the host's buffer is three times this: 120 ms of room
OUTPUT_FPB_S = 0.02
INPUT_RATES = (RATE, 48_000, 44_100, 32_000, 96_000, 8_000, 24_000, 22_050, 88_200, 192_000, 11_025)
OUTPUT_RATES = (48_000, 44_100, 32_000, RATE, 96_000, 24_000, 22_050, 8_000, 88_200, 192_000, 11_025)
MOST_CHANNELS = 8
FIRST, MIX = 0, -1
"""Special values of audio.input_channel."""

NO_DEVICE, DEVICE_BUSY, HOST_ERROR = -9996, -9985, -9999
BAD_RATE, BAD_CHANNELS, BAD_FORMAT = -9997, -9998, -9994


@dataclass(slots=True)
class Card:
    """An open stream of a card: s16le at `rate` Hz with `channels` channels."""

    stream: host.Stream
    name: str
    rate: int
    channels: int = 1
    pick: int | None = 0
    """Which channel of a microphone to use, from 0; None mixes all."""
    gone: Callable[[], bool] = lambda: False
    """Whether the kernel no longer knows the card; cheap, any thread."""
    note: str = ""
    """What a person should know of the choice: a first choice that is missing, a card taken for want of a better."""

    def mono(self, pcm: bytes) -> bytes:
        """The one channel that we use of what a microphone delivers."""
        if self.channels == 1:
            return pcm
        samples = array.array("h", pcm)
        if self.pick is not None:
            return samples[self.pick :: self.channels].tobytes()
        sides = (samples[side :: self.channels] for side in range(self.channels))
        return array.array("h", (sum(frame) // self.channels for frame in zip(*sides, strict=True))).tobytes()

    def spread(self, mono: bytes) -> bytes:
        """The same samples on every channel of a loudspeaker."""
        if self.channels == 1:
            return mono
        samples = array.array("h", mono)
        every = array.array("h", bytes(len(mono) * self.channels))
        for channel in range(self.channels):
            every[channel :: self.channels] = samples
        return every.tobytes()


def probe(pa: host.Host, candidate: Candidate, output: bool, channel: int) -> Card:
    """Open the card; OSError with PortAudio's number if it takes nothing that we can do."""
    last = OSError(BAD_RATE, "no rate tried")
    for channels, rate in product(_output_channels(candidate) if output else _input_channels(candidate, channel),
                                  _rates(output)):  # fmt: skip
        try:
            stream = _open(pa, candidate, output, rate, channels)
        except OSError as error:
            last = error
            if error.errno not in (BAD_RATE, BAD_CHANNELS):
                raise
        else:
            return Card(stream, candidate.name, rate, channels, None if channel == MIX else max(0, channel - 1))
    raise last


def _open(pa: host.Host, candidate: Candidate, output: bool, rate: int, channels: int) -> host.Stream:
    side, fpb_s = ("output", OUTPUT_FPB_S) if output else ("input", INPUT_FPB_S)
    settings = {side: True, f"{side}_device_index": candidate.info["index"]}
    stream: host.Stream = pa.open(
        format=host.PA_INT16, channels=channels, rate=rate, frames_per_buffer=round(rate * fpb_s), **settings
    )
    return stream


def _rates(output: bool) -> Sequence[int]:
    """The loudspeaker's own rate first, unless nothing can be converted: then the agent's usual one."""
    return OUTPUT_RATES if output and speexdsp.available() else INPUT_RATES


def _output_channels(candidate: Candidate) -> Iterator[int]:
    """A sound server spreads mono by itself; PortAudio would leave a raw card's right side silent."""
    stereo = candidate.hardware is not None and candidate.info["maxOutputChannels"] >= 2
    yield from (2, 1) if stereo else (1, 2)


def _input_channels(candidate: Candidate, channel: int) -> Iterator[int]:
    """Of a raw card with more channels than we ask for PortAudio gives the first ones; a sound server mixes them."""
    if channel == MIX and candidate.hardware is not None:
        yield min(candidate.info["maxInputChannels"], MOST_CHANNELS)
    elif channel > 1:
        yield channel
    else:
        yield from (1, 2)


def explain(thing: str, error: OSError, rates: Sequence[int] = OUTPUT_RATES) -> AudioError:
    """PortAudio's numbers in words, with a remedy."""
    text = {
        NO_DEVICE: "does not exist any more: plug it in again",
        BAD_RATE: f"takes none of the rates {', '.join(map(str, sorted(rates)))} Hz: try another card, or plug:… in "
        "~/.asoundrc",
        BAD_CHANNELS: "has not the channels that we need: try another card, or audio.input_channel = 0",
        BAD_FORMAT: "takes neither 16-bit nor 24-bit nor 32-bit samples: try plug:… in ~/.asoundrc",
        DEVICE_BUSY: "is in use by another program: close it (fuser -v /dev/snd/*)",
        HOST_ERROR: "does not work (host error): is it plugged in, and the sound server running?",
    }.get(error.errno or 0, f"cannot be opened ({error}): unplug it and plug it in again")
    return AudioError(f"{thing} {text}")
