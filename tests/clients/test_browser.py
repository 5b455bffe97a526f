"""The unmodified `@elevenlabs/client` in Debian's Chromium holds a spoken conversation with the simulator.

Chromium's microphone is a WAV file that plays once from the moment it is opened, so the visitor speaks by the clock.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from steady import steadily

from device_agent.bench.visitor import speech
from device_agent.simulator.voice import flite
from tests.analysis import RATE, WIRE_RATE, resampled, samples
from tests.benchmarks.server import Server
from tests.patience import until

from .browser import browse
from .evidence import check_heard_processed, check_interrupted, check_manners, check_sound, check_turns

PLAN = {4.0: "What time is it?", 9.5: "Tell me a joke.", 13.5: "Do you know what time it is?"}
LENGTH_S = 20


@dataclass(frozen=True)
class Visit:
    """What is left of a conversation: the lines as fed and what came in (16 kHz), the server, the callbacks."""

    spoken: list[array[int]]
    received: array[int]
    server: Server
    callbacks: list[dict[str, Any]]

    def called(self, kind: str) -> list[Any]:
        return [callback["facts"] for callback in self.callbacks if callback["kind"] == kind]

    def messages(self, source: str) -> list[str]:
        return [facts["message"] for facts in self.called("onMessage") if facts["source"] == source]

    def corrections(self) -> list[tuple[str, str]]:
        return [
            (facts["original_agent_response"], facts["corrected_agent_response"])
            for facts in self.called("onAgentResponseCorrection")
        ]

    def audio(self) -> array[int]:
        return samples(b"".join(base64.b64decode(text) for text in self.called("onAudio")))


def visit(*options: str) -> Iterator[Visit]:
    microphone = array("h", bytes(2 * LENGTH_S * RATE))
    spoken = []
    for at, text in PLAN.items():
        line, start = samples(speech(text)), round(at * RATE)
        microphone[start : start + len(line)] = line
        spoken.append(resampled(line, RATE, WIRE_RATE))
    with (
        Server("--allow-origin", "--first-message", "", *options, script=None) as server,
        browse(server.url, microphone, RATE) as page,
    ):
        server.wait("reply", timeout=60, number=len(PLAN))
        server.order("close", code=1000)
        until(lambda: any(c["kind"] == "onDisconnect" for c in page.callbacks), 10, "no onDisconnect")
        yield Visit(spoken, server.received(), server, list(page.callbacks))


@pytest.fixture(scope="module")
def conversation() -> Iterator[Visit]:
    yield from steadily(visit, check_whole)


def check_whole(visit: Visit) -> None:
    """What a machine that stands still tears first."""
    check_turns(visit.messages("user"), visit.messages("ai"), visit.server, len(PLAN))
    check_heard_processed(visit.spoken, visit.received)
    check_interrupted(visit.corrections(), visit.server)


@pytest.fixture(scope="module")
def sabotaged() -> Iterator[Visit]:
    """A server that never tells of an interruption."""
    yield from visit("--without", "interruption,agent_response_correction")


def test_subprotocol(conversation: Visit) -> None:
    """The client asks for the subprotocol `convai` and gets it, and connects once."""
    assert [event["subprotocol"] for event in conversation.server.of_kind("connected")] == ["convai"]
    assert len(conversation.called("onConnect")) == 1
    assert not conversation.called("failed") + conversation.called("onError")


def test_turns(conversation: Visit) -> None:
    """Three spoken turns: the client's callbacks carry what the server heard and said."""
    check_turns(conversation.messages("user"), conversation.messages("ai"), conversation.server, len(PLAN))


def test_turns_sabotage(conversation: Visit) -> None:
    """A callback that went missing would be noticed."""
    with pytest.raises(AssertionError):
        check_turns(conversation.messages("user"), conversation.messages("ai")[1:], conversation.server, len(PLAN))


def test_heard(conversation: Visit) -> None:
    """The server received the lines that the WAV file holds, as far as the browser's voice processing leaves them."""
    check_heard_processed(conversation.spoken, conversation.received)


@pytest.mark.parametrize("change", ["another line", "backwards"])
def test_heard_sabotage(conversation: Visit, change: str) -> None:
    """Another line in place of the one that was spoken, or the same one backwards, would be noticed."""
    other = samples(flite("It is five past two.")) if change == "another line" else conversation.spoken[-1][::-1]
    with pytest.raises(AssertionError, match="unlike"):
        check_heard_processed([other], conversation.received)


def test_reply(conversation: Visit) -> None:
    """The client handed on the agent's voice, sample by sample."""
    said = [event["text"] for event in conversation.server.of_kind("reply")]
    check_sound("first reply", samples(flite(said[0])), conversation.audio(), least=0.999)


def test_interruption(conversation: Visit) -> None:
    """Speaking over the agent cuts its reply: told to the client, which stops speaking."""
    interruption = check_interrupted(conversation.corrections(), conversation.server)
    assert conversation.called("onInterruption") == [{"event_id": interruption["event_id"]}]
    kinds = [callback["kind"] for callback in conversation.callbacks]
    after = conversation.callbacks[kinds.index("onInterruption") + 1]
    assert (after["kind"], after["facts"]) == ("onModeChange", {"mode": "listening"})


def test_interruption_sabotage(sabotaged: Visit) -> None:
    """An interruption that never reached the client would be noticed."""
    with pytest.raises(AssertionError):
        check_interrupted(sabotaged.corrections(), sabotaged.server)
    assert not sabotaged.called("onInterruption")


def test_end(conversation: Visit) -> None:
    """Close code 1000 ends the conversation, which the client reports as the agent's doing."""
    assert [details["reason"] for details in conversation.called("onDisconnect")] == ["agent"]


def test_manners(conversation: Visit) -> None:
    """The simulator accepts what the client sends: no violation of the protocol, pings answered."""
    check_manners(conversation.server)
