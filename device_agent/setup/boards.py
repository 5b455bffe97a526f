"""The boards that setup knows: what each needs from the boot configuration, the mixer and our own settings.

None of them was tried on hardware yet; the overlays are those of Raspberry Pi OS' own kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from device_agent.records import record


@record
class Board:
    """One board. `overlays` are alternatives: the first that the system's kernel brings is taken."""

    name: str
    title: str
    overlays: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    """`dtparam` values that switch buses on."""
    cards: tuple[str, ...] = ()
    """Parts of the names of its sound card, as the overlays give them; empty: chosen by the person."""
    plays: bool = True
    """Whether a loudspeaker hangs on it."""
    mixer: Mapping[str, str] = field(default_factory=dict)
    """Simple mixer controls and their values, as `amixer sset` takes them."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Our own settings for its pins and lights."""


_WM8960 = {
    "Left Input Mixer Boost": "on",
    "Right Input Mixer Boost": "on",
    "Left Boost Mixer LINPUT1": "on",
    "Right Boost Mixer RINPUT1": "on",
    "Left Output Mixer PCM": "on",
    "Right Output Mixer PCM": "on",
    "Capture": "75%",
    "Playback": "100%",
    "Speaker": "85%",
    "Headphone": "85%",
}
_TLV320 = {
    "Left PGA Mixer Line1L": "on",
    "Right PGA Mixer Line1R": "on",
    "PGA": "30%",
    "PCM": "85%",
    "HP": "on",
    "HP DAC": "85%",
    "Line DAC": "85%",
}

_THREE_LIGHTS = {"lights.kind": "apa102", "lights.count": 3}

BOARDS: tuple[Board, ...] = (
    Board(
        "respeaker-2mic-v1",
        "ReSpeaker 2-Mics Pi HAT, version 1 (codec WM8960, also Keyestudio's and Waveshare's)",
        overlays=("respeaker-2mic-v1_0", "wm8960-soundcard"),
        parameters=("i2c_arm=on", "i2s=on", "spi=on"),
        cards=("seeed", "wm8960"),
        mixer=_WM8960,
        settings={"panel.button_pin": 17, **_THREE_LIGHTS},
    ),
    Board(
        "respeaker-2mic-v2",
        "ReSpeaker 2-Mics Pi HAT, version 2 (codec TLV320AIC3104)",
        overlays=("respeaker-2mic-v2_0",),
        parameters=("i2c_arm=on", "i2s=on", "spi=on"),
        cards=("seeed",),
        mixer=_TLV320,
        settings={"panel.button_pin": 17, **_THREE_LIGHTS},
    ),
    Board(
        "respeaker-4mic",
        "ReSpeaker 4-Mic Array for Raspberry Pi (microphones only: add a loudspeaker)",
        overlays=("respeaker-4mic-array", "seeed-4mic-voicecard"),
        parameters=("i2c_arm=on", "i2s=on", "spi=on"),
        cards=("seeed",),
        plays=False,
        settings={"lights.kind": "apa102", "lights.count": 12, "lights.power_pin": 5},
    ),
    Board(
        "i2s",
        "I2S amplifier and I2S microphone (MAX98357A with INMP441, SPH0645 or ICS-43432; Voice HAT)",
        overlays=("googlevoicehat-soundcard",),
        parameters=("i2s=on",),
        cards=("voicehat",),
    ),
    Board("usb", "USB speakerphone, headset or sound card (needs nothing)"),
    Board("other", "something else, or already set up"),
)


def board(name: str) -> Board | None:
    """The board of this name, or None."""
    return next((found for found in BOARDS if found.name == name), None)
