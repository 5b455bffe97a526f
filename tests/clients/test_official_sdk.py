"""The unmodified official Python SDK holds a spoken conversation with the simulator over virtual sound cards."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from steady import steadily

from device_agent.bench.visitor import Line, Visitor, speech
from device_agent.simulator.voice import flite
from tests.analysis import AUDIBLE, RATE, WIRE_RATE, onset, resampled, samples
from tests.benchmarks.bed import OFFICIAL, Bed
from tests.benchmarks.server import Server

from .evidence import check_heard, check_interrupted, check_manners, check_sound, check_turns

SENTENCES = ("What time is it?", "Tell me a joke.", "Do you know what time it is?", "Goodbye.")
INTERRUPTING = 2
SILENCE_S = 1.0  # the SDK plays a chunk (here up to 0.42 s) to its end before it falls silent


@dataclass(frozen=True)
class Visit:
    """What is left of a conversation: the lines as fed (16 kHz), the cards, the server, the SDK's callbacks."""

    spoken: list[array[int]]
    received: array[int]
    loudspeaker: array[int]  # 16 kHz
    silent_after: float  # seconds from the interruption until the loudspeaker was silent
    server: Server
    callbacks: list[dict[str, Any]]

    def called(self, kind: str) -> list[dict[str, Any]]:
        return [callback for callback in self.callbacks if callback["kind"] == kind]

    def corrections(self) -> list[tuple[str, str]]:
        return [(callback["original"], callback["corrected"]) for callback in self.called("correction")]


def visit(bed: Bed, *options: str) -> Iterator[Visit]:
    lines = tuple(
        Line(text, 1.2 if number == INTERRUPTING else None, speech(text)) for number, text in enumerate(SENTENCES)
    )
    with bed.session(OFFICIAL, *options, greeting="Hello. How can I help you?", script=None) as session:
        gone = lambda: not session.process.alive  # noqa: E731
        session.server.wait("audio")
        Visitor(session.microphone, session.speaker, lambda text: None, gone).converse(lines)
        if session.server.of_kind("closing"):
            session.process.popen.wait(5)
        yield Visit(
            [resampled(samples(line.pcm), RATE, WIRE_RATE) for line in lines],
            session.server.received(),
            resampled(session.speaker.samples(), RATE, WIRE_RATE),
            _silent_after(session.server, session.speaker),
            session.server,
            list(session.process.said),
        )


def _silent_after(server: Server, speaker: Any) -> float:
    """From the interruption to the first 100 ms of silence."""
    interruption = next(iter(server.of_kind("sent", type="interruption")), None)
    if interruption is None:
        return float("inf")
    heard = speaker.samples(since=interruption["t"])
    size = RATE // 10
    starts = range(0, len(heard) - size, size // 10)
    return next((at / RATE for at in starts if onset(heard[at : at + size], AUDIBLE) is None), float("inf"))


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed() as bed:
        yield bed


@pytest.fixture(scope="module")
def conversation(bed: Bed) -> Iterator[Visit]:
    yield from steadily(lambda: visit(bed), check_whole)


def check_whole(visit: Visit) -> None:
    """What a machine that stands still tears first."""
    check_turns(texts(visit, "user_transcript"), texts(visit, "agent_response"), visit.server, 4)
    check_heard(visit.spoken, visit.received)
    check_sound("greeting", samples(flite("Hello. How can I help you?")), visit.loudspeaker, least=0.9)
    check_interrupted(visit.corrections(), visit.server)


@pytest.fixture(scope="module")
def sabotaged(bed: Bed) -> Iterator[Visit]:
    """A server that speaks in a format which the SDK does not honour, and never tells of an interruption."""
    yield from visit(bed, "--output-format", "pcm_8000", "--without", "interruption,agent_response_correction")


def texts(visit: Visit, kind: str) -> list[str]:
    return [callback["text"] for callback in visit.called(kind)]


def test_turns(conversation: Visit) -> None:
    """Four spoken turns: the SDK's callbacks carry what the server heard and said."""
    check_turns(texts(conversation, "user_transcript"), texts(conversation, "agent_response"), conversation.server, 4)


def test_turns_sabotage(conversation: Visit) -> None:
    """A callback that went missing would be noticed."""
    transcripts, responses = texts(conversation, "user_transcript"), texts(conversation, "agent_response")
    with pytest.raises(AssertionError):
        check_turns(transcripts[1:], responses, conversation.server, 4)


def test_heard(conversation: Visit) -> None:
    """The server received, sample by sample, what was fed to the SDK's microphone."""
    check_heard(conversation.spoken, conversation.received)


@pytest.mark.parametrize("change", ["lost", "doubled", "silenced"])
def test_heard_sabotage(conversation: Visit, change: str) -> None:
    """One frame of 20 ms that is lost, doubled or silenced in the middle of a line would be noticed."""
    received, frame = conversation.received, WIRE_RATE // 50
    line = conversation.spoken[0]
    middle = check_sound("line", line, received) + len(line) // 2
    spoilt = {
        "lost": received[:middle] + received[middle + frame :],
        "doubled": received[: middle + frame] + received[middle:],
        "silenced": received[:middle] + array("h", bytes(2 * frame)) + received[middle + frame :],
    }[change]
    with pytest.raises(AssertionError, match="did not arrive as sent"):
        check_heard([line], spoilt)


def test_played(conversation: Visit) -> None:
    """The loudspeaker played, sample by sample, what the server said first."""
    check_sound("greeting", samples(flite("Hello. How can I help you?")), conversation.loudspeaker, least=0.9)


def test_played_sabotage(sabotaged: Visit) -> None:
    """Speech at the wrong speed would be noticed: the SDK takes every format for pcm_16000."""
    with pytest.raises(AssertionError, match="did not arrive as sent"):
        check_sound("greeting", samples(flite("Hello. How can I help you?")), sabotaged.loudspeaker, least=0.9)


def test_interruption(conversation: Visit) -> None:
    """Speaking over the agent cuts its reply: told to the SDK, and heard at the loudspeaker."""
    check_interrupted(conversation.corrections(), conversation.server)
    assert conversation.silent_after <= SILENCE_S


def test_interruption_sabotage(sabotaged: Visit) -> None:
    """An interruption that never reached the SDK would be noticed."""
    with pytest.raises(AssertionError):
        check_interrupted(sabotaged.corrections(), sabotaged.server)
    assert sabotaged.silent_after > SILENCE_S


def test_end(conversation: Visit) -> None:
    """The agent's goodbye ends the session with close code 1000, which the SDK reports as the agent's doing."""
    details = [callback["details"] for callback in conversation.called("disconnect")]
    assert len(details) == 1
    assert "reason='agent'" in details[0] and "close_code=1000" in details[0]


def test_manners(conversation: Visit) -> None:
    """The simulator accepts what the SDK sends: no violation of the protocol, pings answered."""
    check_manners(conversation.server)
