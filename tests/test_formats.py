"""The seven wire formats."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.protocol.formats import FORMATS, AudioFormat, FormatError, parse

SEVEN = ["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]


def test_there_are_seven_formats() -> None:
    """The names are the service's, and each names its own rate and coding."""
    assert list(FORMATS) == SEVEN
    for name in SEVEN:
        coding, rate = name.split("_")
        assert parse(name) == AudioFormat(name, int(rate), coding == "ulaw")


@pytest.mark.parametrize("name", ["", "pcm", "pcm_11025", "PCM_16000", "mp3_44100_128", "pcm_16000 ", "opus_48000"])
def test_any_other_format_is_refused_by_name(name: str) -> None:
    """An unknown format is an error that names it and the ones that we speak."""
    with pytest.raises(FormatError, match=f"'{name}' is not one of pcm_8000, .*ulaw_8000"):
        parse(name)


def test_a_long_name_does_not_flood_the_log() -> None:
    """The error quotes at most forty characters of what the server sent."""
    with pytest.raises(FormatError, match=f"'{'x' * 40}'"):
        parse("x" * 1_000_000)


@pytest.mark.parametrize(
    ("name", "ms", "expected"),
    [
        ("pcm_16000", 20, bytes(640)),
        ("pcm_22050", 20, bytes(882)),
        ("pcm_44100", 0.5, bytes(44)),
        ("ulaw_8000", 20, b"\xff" * 160),
        ("pcm_8000", 0, b""),
    ],
)
def test_silence_is_the_formats_own(name: str, ms: float, expected: bytes) -> None:
    """Silence is zeros in PCM and 0xFF in µ-law, in whole samples, and decodes to zeros."""
    silence = parse(name).silence(ms)
    assert silence == expected
    assert not any(parse(name).to_pcm(silence))


@pytest.mark.parametrize("name", SEVEN)
def test_a_second_lasts_a_second(name: str) -> None:
    """Durations are counted in the wire's own samples."""
    wire = parse(name)
    assert wire.samples(1000) == wire.rate
    assert wire.duration_ms(bytes(wire.rate * wire.sample_bytes)) == pytest.approx(1000)


@pytest.mark.parametrize("name", SEVEN)
@settings(max_examples=50, deadline=None, database=None)
@given(data=st.binary(max_size=200))
def test_wire_audio_comes_back_the_same(name: str, data: bytes) -> None:
    """Wire → PCM → wire changes no audible bit, and one wire sample is one PCM sample."""
    wire = parse(name)
    data = data[: len(data) // 2 * 2].replace(b"\x7f", b"\xff")  # minus zero of µ-law has no PCM
    pcm = wire.to_pcm(data)
    assert wire.from_pcm(pcm) == data
    assert len(pcm) * wire.sample_bytes == len(data) * 2


@pytest.mark.parametrize("name", SEVEN)
def test_half_a_sample_is_refused(name: str) -> None:
    """PCM of odd length is refused in both directions; µ-law has no half samples on the wire."""
    wire = parse(name)
    with pytest.raises(FormatError, match="3 bytes"):
        wire.from_pcm(b"\0\0\0")
    if wire.ulaw:
        assert wire.to_pcm(b"\xff\xff\xff") == bytes(6)
    else:
        with pytest.raises(FormatError, match="3 bytes"):
            wire.to_pcm(b"\0\0\0")
