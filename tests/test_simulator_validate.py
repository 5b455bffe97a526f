"""The simulator as a judge of its clients, as a doorman, and as a source of faults."""

from __future__ import annotations

import argparse
import base64
import json
import random
from typing import Any

import pytest

from device_agent.simulator.faults import MALFORMED, Fault, Refusal, Schedule, When, malformed
from device_agent.simulator.http import SIGNED_URL_PATH, SOCKET_PATH, Doorman, Reply
from device_agent.simulator.liveness import Liveness
from device_agent.simulator.opening import first_message, refusal
from device_agent.simulator.options import Options, Pace, add_arguments
from device_agent.simulator.validate import judge

PCM = base64.b64encode(bytes(640)).decode()


@pytest.mark.parametrize(
    "body",
    [
        {"user_audio_chunk": PCM},
        {"type": "pong", "event_id": 3},
        {"type": "conversation_initiation_client_data"},
        {"type": "client_tool_result", "tool_call_id": "c", "result": "ok", "is_error": False},
        {"type": "contextual_update", "text": "warm", "context_id": "room"},
        {"type": "user_message", "text": "hi"},
        {"type": "user_activity"},
        {"type": "feedback", "event_id": 1, "score": "like"},
        {"type": "multimodal_message"},
        {"type": "mcp_tool_approval_result", "tool_call_id": "c", "is_approved": False},
    ],
)
def test_what_the_schema_allows_is_no_violation(body: dict[str, Any]) -> None:
    """Every client message of the published schema passes."""
    assert judge(json.dumps(body)).violations == ()


@pytest.mark.parametrize(
    "message",
    [
        b"\x00",
        "{",
        "[" * 100_000,
        "[]",
        "null",
        '{"type": "newer"}',
        '{"type": ["pong"]}',
        "{}",
        '{"type": "pong"}',
        '{"type": "pong", "event_id": "3"}',
        '{"type": "pong", "event_id": true}',
        '{"type": "client_tool_result", "tool_call_id": "c", "result": {"a": 1}, "is_error": false}',
        '{"type": "conversation_initiation_client_data", "dynamic_variables": []}',
        '{"user_audio_chunk": 7}',
        '{"user_audio_chunk": "!!"}',
        '{"user_audio_chunk": "AAAA"}',
        '{"user_audio_chunk": "", "type": "user_audio_chunk"}',
    ],
)
def test_everything_else_is_a_violation_and_never_an_exception(message: str | bytes) -> None:
    """A witness reports what it cannot use, whatever it is."""
    assert judge(message).violations


def test_half_a_sample_is_cut_off() -> None:
    """The whole samples of an odd chunk are used all the same."""
    assert judge('{"user_audio_chunk": "AAAA"}').audio == b"\0\0"


class TestOpening:
    """What the first message may set."""

    def test_an_override_must_be_allowed(self) -> None:
        """Overrides are off until the agent allows them; empty ones do not count."""
        override = {"conversation_config_override": {"agent": {"first_message": "Hi", "language": None}, "tts": {}}}
        assert refusal(override, Options()) == "Override for field 'first_message' is not allowed by config."
        assert refusal(override, Options(allow_override=("first_message",))) is None
        assert first_message(override, Options(allow_override=("first_message",))) == "Hi"

    def test_variables_are_filled_in_or_missed(self) -> None:
        """A variable of the first message must be given."""
        options = Options(first_message="Hello {{ name }}")
        assert refusal({}, options) == "Missing required dynamic variables in first message: {'name'}"
        assert first_message({"dynamic_variables": {"name": "Ada"}}, options) == "Hello Ada"


class TestDoorman:
    """Signed URLs and upgrades."""

    def sign(self, doorman: Doorman, query: str = "agent_id=a", key: str = "k") -> Reply:
        reply = doorman.answer(f"{SIGNED_URL_PATH}?{query}", {"xi-api-key": key}, "127.0.0.1:9", 0.0)
        assert reply is not None
        return reply

    def path(self, reply: Reply) -> str:
        url = json.loads(reply.body)["signed_url"]
        assert url.startswith("ws://127.0.0.1:9/v1/convai/conversation?agent_id=a&conversation_signature=")
        return str(url.removeprefix("ws://127.0.0.1:9"))

    @pytest.mark.parametrize(
        ("query", "key", "status"),
        [
            ("agent_id=a", "k", 200),
            ("agent_id=a", "x", 401),
            ("agent_id=a", "", 401),
            ("agent_id=b", "k", 404),
            ("", "k", 422),
        ],
    )
    def test_statuses(self, query: str, key: str, status: int) -> None:
        """The key is checked first, then the agent."""
        assert self.sign(Doorman(Options(require_key="k", agent_id=("a",))), query, key).status == status

    def test_a_private_agent_takes_signed_urls_only(self) -> None:
        """A signed URL works again and again for 15 minutes; none, or a wrong one, never."""
        doorman = Doorman(Options(require_key="k"))
        path = self.path(self.sign(doorman))
        assert [doorman.answer(path, {}, "", t) for t in (1.0, 899.0)] == [None, None]
        refused = [doorman.answer(p, {}, "", t) for p, t in ((path, 901.0), (path + "x", 1.0))]
        assert [r and r.status for r in refused] == [403, 403]
        public = doorman.answer(f"{SOCKET_PATH}?agent_id=a", {}, "", 1.0)
        assert public is not None and public.status == 401

    def test_a_url_bound_to_a_conversation_works_once(self) -> None:
        """include_conversation_id makes a single-use signature."""
        doorman = Doorman(Options())
        path = self.path(self.sign(doorman, "agent_id=a&include_conversation_id=true"))
        assert doorman.answer(path, {}, "", 1.0) is None
        again = doorman.answer(path, {}, "", 1.0)
        assert again is not None and again.status == 403

    @pytest.mark.parametrize(("path", "status"), [("/", 404), (SOCKET_PATH, 422), (f"{SOCKET_PATH}?agent_id=b", 404)])
    def test_upgrades_that_lead_nowhere(self, path: str, status: int) -> None:
        """Unknown paths and agents are refused."""
        reply = Doorman(Options(agent_id=("a",))).answer(path, {}, "", 0.0)
        assert reply is not None and reply.status == status

    def test_refusals_end_after_the_faulty_attempts(self) -> None:
        """--refuse 429:7 --faulty 1 refuses the first upgrade only, and no signed URL."""
        doorman = Doorman(Options(refuse=(Refusal.parse("429:7"),), faulty=1))
        assert self.sign(doorman).status == 200
        first, second = (doorman.answer(f"{SOCKET_PATH}?agent_id=a", {}, "", 0.0) for _ in range(2))
        assert first is not None and (first.status, dict(first.headers)) == (429, {"Retry-After": "7"})
        assert second is None

    def test_headers_that_a_device_does_not_send(self) -> None:
        """Origin and the API key on the upgrade are violations unless they are allowed."""
        headers = {"origin": "https://x", "xi-api-key": "k"}
        assert len(Doorman(Options()).violations(headers)) == 2
        assert Doorman(Options(allow_origin=True, allow_key_header=True)).violations(headers) == []


class TestFaults:
    """Faults strike when they are told to, once."""

    @pytest.mark.parametrize(
        ("text", "when"),
        [
            ("3.5", When("after", 3.5)),
            ("turn2", When("turn", 2)),
            ("reply1", When("reply", 1)),
            ("p0.1", When("chance", 0.1)),
        ],
    )
    def test_moments(self, text: str, when: When) -> None:
        """Seconds, turns, replies and chances are told apart."""
        assert When.parse(text) == when

    @pytest.mark.parametrize("text", ["", "soon", "turn", "px"])
    def test_other_words_are_refused(self, text: str) -> None:
        """A moment that means nothing is an error of the command line."""
        with pytest.raises(argparse.ArgumentTypeError):
            When.parse(text)

    def test_a_fault_strikes_once(self) -> None:
        """Time counts from the metadata."""
        fault = Fault("drop", When("after", 2.0))
        schedule = Schedule((fault,), random.Random(1))
        before = schedule.due(100.0)
        schedule.start(100.0)
        assert [before, *(schedule.due(100.0 + t) for t in (1.9, 2.0, 9.0))] == [[], [], [fault], []]

    def test_chance_is_per_second(self) -> None:
        """A certain chance strikes within the second."""
        fault = Fault("drop", When("chance", 1.0))
        schedule = Schedule((fault,), random.Random(1))
        schedule.start(0.0)
        assert schedule.due(1.0) == [fault]

    def test_a_turn_fault_waits_for_its_turn(self) -> None:
        """Other turns and replies of that number are spared."""
        fault = Fault("close", When("turn", 2))
        schedule = Schedule((fault,), random.Random(1))
        assert [schedule.at("turn", 1), schedule.at("reply", 2), schedule.at("turn", 2)] == [[], [], [fault]]

    def test_malformed_messages_can_all_be_made(self) -> None:
        """The big one is 20 MB of text; one is a binary frame."""
        made = {name: malformed(name) for name in MALFORMED}
        assert len(made["big-text"]) > 20_000_000
        assert [name for name, message in made.items() if isinstance(message, bytes)] == ["binary-frame"]


def test_liveness() -> None:
    """A pong is measured from the moment its ping left; a missing one is reported once."""
    pings = Liveness(2.0)
    assert pings.due(0.0) is None
    pings.start(0.0)
    assert (pings.due(1.9), pings.due(2.0), pings.next_due) == (None, (1, None), 4.0)
    pings.sent(1, 2.1)
    assert pings.pong(1, 2.35) == pytest.approx(250)
    assert pings.pong(1, 2.4) is None
    assert pings.pong("1", 2.4) is None
    assert pings.due(4.0) == (2, 250)
    pings.sent(2, 4.0)
    assert [list(pings.overdue(t)) for t in (9.0, 9.1, 9.2)] == [[], [2], []]
    pings.sent(3, 10.0)
    pings.forgive()
    assert list(pings.overdue(99.0)) == []


def options(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return Options.of(parser.parse_args(words))


def test_the_command_line_says_it_all() -> None:
    """Without words the defaults hold; each switch ends up in its field."""
    assert options() == Options()
    given = options(
        "--close",
        "1008:no: really:turn2",
        "--stall",
        "3:8",
        "--dead-link-mid-reply",
        "2",
        "--drop",
        "p0.5",
        "--chunk-ms",
        "100",
        "--pace",
        "jitter",
        "--malformed",
        "all",
        "--without",
        "vad_score,interruption",
        "--refuse",
        "503@url",
        "--agent-id",
        "a",
        "--agent-id",
        "b",
    )
    assert given.fault == (
        Fault("close", When("turn", 2), 1008, "no: really"),
        Fault("stall", When("after", 3), seconds=8),
        Fault("stall", When("reply", 2)),
        Fault("drop", When("chance", 0.5)),
    )
    assert (given.chunk_ms, given.pace, given.malformed) == ((100, 100), Pace("jitter", 80), tuple(MALFORMED))
    assert (given.without, given.agent_id) == (("vad_score", "interruption"), ("a", "b"))
    assert given.refuse == (Refusal(503, on_url=True),)


@pytest.mark.parametrize("words", [("--chunk-ms", "0"), ("--pace", "slow"), ("--malformed", "nice")])
def test_a_wrong_command_line_ends_there(words: tuple[str, str]) -> None:
    """argparse's own error and exit code."""
    with pytest.raises(SystemExit):
        options(*words)
