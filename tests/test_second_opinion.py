"""The second opinion: what only sounds like speech is none; it is asked no more than needed."""

from __future__ import annotations

import math
import random
import shutil
from array import array

import pytest

from device_agent.audio.second_opinion import CHUNK_BYTES, SecondOpinion, check
from device_agent.audio.vad import SpeechDetector
from device_agent.errors import ConfigError
from device_agent.simulator.voice import flite

FRAME = 640
SILENCE = bytes(FRAME)


def clicks() -> bytes:
    """5 s in which something clatters: bursts of 25 ms, ten a second."""
    chance = random.Random(1)
    loud = array("h", (chance.randrange(-12_000, 12_000) for _ in range(400))).tobytes()
    return (loud + bytes(3200 - len(loud))) * 50


def music() -> bytes:
    """2 s of a soft chord that swells six times a second: speech for the lenient, hardly for the strict."""

    def at(n: int) -> int:
        chord = sum(math.sin(2 * math.pi * 300 * k * n / 16_000) / k for k in (1, 2, 3, 4, 5))
        return int(600 * (0.5 + 0.5 * math.sin(2 * math.pi * 6 * n / 16_000)) * chord)

    return array("h", map(at, range(32_000))).tobytes()


def opinions(detector: SpeechDetector, pcm: bytes) -> list[bool]:
    return [detector.speech(pcm[at : at + FRAME]) for at in range(0, len(pcm) - FRAME, FRAME)]


@pytest.mark.skipif(not shutil.which("flite"), reason="flite speaks")
def test_a_sentence_is_speech() -> None:
    """Nearly all that webrtcvad takes for speech in a sentence."""
    said = bytes(32_000) + flite("what time is it in the hall of the museum", "rms")
    first, second = opinions(SpeechDetector(3), said), opinions(SpeechDetector(3, SecondOpinion()), said)
    assert sum(second) > 0.7 * sum(first)


def test_a_clatter_is_none() -> None:
    """webrtcvad takes it for speech. The sabotage is that very opinion, alone."""
    assert sum(opinions(SpeechDetector(3), clicks())) > 50
    assert sum(opinions(SpeechDetector(3, SecondOpinion()), clicks())) == 0


def test_it_is_not_asked_while_nothing_sounds_like_speech() -> None:
    """It costs much more than the first opinion."""
    asked: list[bytes] = []
    second = SecondOpinion(lambda chunk: asked.append(chunk) or 1.0)  # type: ignore[func-returns-value]
    assert not any(second.speech(SILENCE, False) for _ in range(100))
    assert asked == []


def test_it_hears_what_came_before() -> None:
    """Its model has a memory, and a word begins before it is known as one: 160 ms are told first."""
    asked: list[bytes] = []
    second = SecondOpinion(lambda chunk: asked.append(chunk) or 1.0)  # type: ignore[func-returns-value]
    frames = [bytes([number]) * FRAME for number in range(20)]
    for frame in frames[:-1]:
        second.speech(frame, False)
    assert second.speech(frames[-1], True)
    assert b"".join(asked) == b"".join(frames[-9:])[: len(asked) * CHUNK_BYTES]


def test_it_listens_on_for_a_moment() -> None:
    """Ten frames after the first opinion's last word; then its own last word is forgotten."""
    second = SecondOpinion(lambda _chunk: 1.0)
    second.speech(SILENCE, True)
    heard = [second.speech(SILENCE, False) for _ in range(12)]
    assert heard == [True] * 9 + [False] * 3


def test_an_engine_that_is_not_installed_names_its_command() -> None:
    """Before anything starts."""
    with pytest.raises(ConfigError, match=r"pip install 'device-agent\[silero\]'"):
        check(lambda _name: None)


def test_it_is_not_asked_about_what_is_left_of_the_agent() -> None:
    """Of a voice in its own residual echo it knows nothing: a person who interrupts would not be heard."""
    detector = SpeechDetector(3, SecondOpinion(lambda _chunk: 0.0))
    alone, among = (sum(detector.speech(clicks()[at : at + FRAME], residual) for at in range(0, 64_000, FRAME))
                    for residual in (False, True))  # fmt: skip
    assert (alone, among > 10) == (0, True)


def test_the_first_opinion_is_at_its_strictest() -> None:
    """In a conversation too, where it would be lenient; over the agent's residual echo it stands alone, and is."""
    firsts: list[bool] = []

    class Spy(SecondOpinion):
        def speech(self, pcm: bytes, first: bool) -> bool:
            firsts.append(first)
            return first

    chord = music()
    lenient, strict = opinions(SpeechDetector(2), chord), opinions(SpeechDetector(3), chord)
    detector = SpeechDetector(2, Spy(lambda _chunk: 1.0))
    assert opinions(detector, chord) == firsts == strict != lenient
    alone = SpeechDetector(2, Spy(lambda _chunk: 1.0))
    assert [alone.speech(chord[at : at + FRAME], True) for at in range(0, len(chord) - FRAME, FRAME)] == lenient
