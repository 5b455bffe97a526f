"""The simulator's ear: turns are decided on received audio."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.protocol import ulaw
from device_agent.simulator.hearing import FRAME_BYTES, Heard, TurnDetector, dbfs, peak
from device_agent.simulator.wire import FromWire, to_wire

SPEECH = b"\x00\x40" * (FRAME_BYTES // 2)
SILENCE = bytes(FRAME_BYTES)


def detector(end_of_turn_ms: int = 600) -> TurnDetector:
    return TurnDetector(lambda frame: any(frame), end_of_turn_ms)


def heard(*frames: bytes) -> list[Heard]:
    return list(detector().feed(b"".join(frames)))


def test_a_turn_starts_is_confirmed_pauses_and_ends() -> None:
    """Speech of 200 ms and silence of 600 ms make one turn."""
    assert heard(SILENCE * 10, SPEECH * 10, SILENCE * 30) == [Heard.ONSET, Heard.CONFIRMED, Heard.PAUSE, Heard.END]


def test_silence_of_580_ms_does_not_end_the_turn() -> None:
    """The end comes with the frame that completes the silence, not before."""
    assert Heard.END not in heard(SPEECH * 10, SILENCE * 29)


def test_speech_after_a_pause_continues_the_turn() -> None:
    """A pause shorter than the end of turn belongs to the turn."""
    assert heard(SPEECH * 10, SILENCE * 20, SPEECH, SILENCE * 29).count(Heard.END) == 0


def test_a_cough_is_no_turn() -> None:
    """Less than 200 ms of speech is dropped."""
    assert heard(SPEECH * 6, SILENCE * 30) == [Heard.ONSET, Heard.PAUSE, Heard.DROPPED]


def test_a_click_is_nothing() -> None:
    """Four speech frames of eight are no onset."""
    assert heard(SILENCE, SPEECH * 4, SILENCE * 40) == []


def test_the_turn_begins_before_its_onset() -> None:
    """The onset's own frames and 300 ms before them are part of the turn."""
    ear = detector()
    list(ear.feed(SILENCE * 50 + SPEECH * 5))
    assert bytes(ear.turn).endswith(SPEECH * 5)
    assert len(ear.turn) >= (300 // 20 + 5) * FRAME_BYTES


def test_talking_without_end_is_cut_after_a_minute() -> None:
    """A turn never grows without bound."""
    assert heard(SPEECH * 3000)[-1] is Heard.END


@given(st.lists(st.integers(1, 3000), min_size=1))
def test_the_size_of_the_pieces_does_not_matter(sizes: list[int]) -> None:
    """Whatever the client's chunk length, the same samples make the same turns."""
    audio, ear, found = SILENCE * 3 + SPEECH * 12 + SILENCE * 31, detector(), []
    at = 0
    for size in [*sizes, len(audio)]:
        found += list(ear.feed(audio[at : at + size]))
        at += size
    assert found == heard(audio)


@pytest.mark.parametrize(("pcm", "level"), [(b"", -120.0), (bytes(640), -120.0), (b"\x00\x80" * 320, 0.0)])
def test_level(pcm: bytes, level: float) -> None:
    """Levels are RMS re full scale; silence and nothing are -120 dBFS."""
    assert dbfs(pcm) == pytest.approx(level)


def test_peak() -> None:
    """The peak is the largest absolute sample."""
    assert (peak(b""), peak(b"\x01\x00\x00\x80")) == (0, 32_768)


def test_mu_law_agrees_with_the_client() -> None:
    """Two independent tables, the simulator's and the product's, decode every code and encode every value alike."""
    samples = b"".join(value.to_bytes(2, "little", signed=True) for value in range(-32_768, 32_768, 7))
    assert to_wire(samples, "pcm_16000") == samples
    from device_agent.simulator import wire

    assert wire._EXPANDED.tobytes() == ulaw.decode(bytes(range(256)))
    assert bytes(map(wire._compress, range(-32_768, 32_768, 7))) == ulaw.encode(samples)


def test_16_khz_passes_unchanged() -> None:
    """What was received at the internal rate is kept bit for bit."""
    assert FromWire("pcm_16000").decode(SPEECH) == SPEECH
