"""The codec against every documented message, and against everything that a message must not be."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, get_args

import pytest

from device_agent.protocol import messages as m
from device_agent.protocol.codec import REASONS, decode, encode, encode_audio
from device_agent.protocol.fields import MAX_DEPTH
from device_agent.protocol.server_messages import SERVER_MESSAGES

EXAMPLES = [json.loads(line) for line in (Path(__file__).parent / "data/protocol_examples.jsonl").open()]
SENT = [example["message"] for example in EXAMPLES if example["direction"] == "send"]
RECEIVED = [example["message"] for example in EXAMPLES if example["direction"] == "receive"]

PROMPT = "You run the kiosk in the north hall. Answer in one or two sentences."
EXPECTED_SENT: list[m.ClientMessage] = [
    m.Initiation(
        config_override={
            "agent": {
                "prompt": {"prompt": PROMPT},
                "first_message": "Hi, this is the north hall kiosk.",
                "language": "en",
            },
            "tts": {"voice_id": "vce_demo_0042", "speed": 1.05, "stability": 0.45, "similarity_boost": 0.75},
            "asr": {"keywords": ["Gleis", "Kiosk"]},
            "conversation": {"text_only": False},
        },
        extra_body={"temperature": 0.3},
        dynamic_variables={"device_name": "kiosk-07", "floor": 2, "wheelchair_mode": False},
        user_id="kiosk-07",
    ),
    m.Pong(17),
    m.ClientToolResult("call_7fA2", '{"lamp":"on","level":60}'),
    m.ClientToolResult("call_7fA3", "No tool named open_door on this device", True, "external_client"),
    m.ContextualUpdate("Room temperature is 21.5 C; a visitor stands at the kiosk.", "room-state"),
    m.UserMessage("When does the library close today?"),
    m.UserActivity(),
    m.Feedback(58, "like"),
    m.MultimodalMessage("What is on this label?", ("file_q81",)),
    m.McpToolApprovalResult("mcp_call_31", False),
]

VOICE = next(b64decode(event["audio_event"]["audio_base_64"]) for event in RECEIVED if event["type"] == "audio")
EXPECTED_RECEIVED: list[m.ServerMessage] = [
    m.Metadata("conv_demo5k2", "pcm_16000", "pcm_16000"),
    m.Metadata("conv_demo5k3", "pcm_44100", "ulaw_8000"),
    m.UserTranscript("Turn the lamp on, please.", 57),
    m.TentativeUserTranscript("Turn the lam", 57),
    m.AgentResponse("Sure, the lamp is on now. Anything else?", 58),
    m.AgentResponse("Here is the floor plan.", 61),
    m.AgentResponseCorrection("Sure, the lamp is on now. Anything else?", "Sure, the lamp is", 58),
    m.Audio(VOICE, 58, m.Alignment(("S", "u", "r", "e"), (0, 2, 5, 8), (2, 3, 3, 2))),
    m.Audio(b"", 58, is_final=True),
    m.Interruption(59),
    m.Ping(17),
    m.Ping(18, 46),
    m.ClientToolCall("set_lamp", "call_7fA2", {"on": True, "level": 60}, 58),
    m.ClientToolCall("show_face", "call_7fA4", {"mood": "happy"}, 58, expects_response=False),
    m.ContextualUpdateReceived("The visitor opened the map page."),
    m.VadScore(0.91),
    m.VadScore(0.12),
    m.TurnProbability(0.74),
    m.TurnProbability(0.31),
    m.TentativeAgentResponse("Sure, the lamp"),
    m.AgentChatResponsePart("", "start", 58),
    m.AgentChatResponsePart("Sure, the ", "delta", 58),
    m.AgentChatResponsePart("", "stop", 58),
    m.AgentResponseComplete(58),
    m.AgentResponseMetadata({"topic": "light"}, 58),
    m.AgentToolRequest("opening_hours", "tl_90", "webhook", 63),
    m.AgentToolResponse("end_call", "end_call_4c1", "system", event_id=70),
    m.AgentToolResponse("opening_hours", "tl_90", "webhook", event_id=63, full_tool_result='{"closes":"20:00"}'),
    m.McpToolCall("svc_wiki", "mcp_call_31", "search_wiki", "loading"),
    m.McpToolCall("svc_wiki", "mcp_call_31", "search_wiki", "awaiting_approval", 300.0),
    m.McpToolCall("svc_wiki", "mcp_call_31", "search_wiki", "success"),
    m.McpToolCall("svc_wiki", "mcp_call_31", "search_wiki", "failure"),
    m.McpConnectionStatus(
        (
            {
                "integration_id": "svc_wiki",
                "integration_type": "mcp_server",
                "is_connected": True,
                "tool_count": 4,
            },
        )
    ),
    m.AsrInitiationMetadata({}),
    m.ContextUsage(1840, 1048576, "gemini-2.5-flash", 58),
    m.GuardrailTriggered(),
    m.AgentReasoningResponsePart("User wants light.", "delta", "r-12"),
    m.RichContent("rc_3", "item_card", {"title": "Lamp"}, 64),
    m.AgentTyping(True, 3000),
    m.ExternalAgent(connected=True),
    m.ExternalAgent(connected=False),
    m.QueueStatus("waiting"),
    m.QueueStatus("admitted"),
    m.QueueStatus("timed_out"),
    m.ServerError(1000, "Conversation exceeded the maximum duration", "max_duration_exceeded"),
    m.ServerError(1002, "The model did not answer in time", "llm_timeout"),
    m.ServerError(1008, "Override not permitted", "invalid_request"),
]


def wire(wire_type: str, **fields: Any) -> str:
    return json.dumps({"type": wire_type, **fields})


# ------------------------------------------------------------------------------- documented messages
@pytest.mark.parametrize(("message", "expected"), list(zip(RECEIVED, EXPECTED_RECEIVED, strict=True)))
def test_every_documented_server_message_is_typed(message: dict[str, Any], expected: m.ServerMessage) -> None:
    """Each server message of the reference decodes to its dataclass, from text and from bytes alike."""
    text = json.dumps(message)
    assert decode(text) == decode(text.encode()) == decode(bytearray(text.encode())) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    list(zip([sent for sent in SENT if "type" in sent], EXPECTED_SENT, strict=True)),
)
def test_every_client_message_has_the_documented_shape(message: dict[str, Any], expected: m.ClientMessage) -> None:
    """Each client message encodes to the JSON of the reference, no key more and none less."""
    assert json.loads(encode(expected)) == message


def test_microphone_audio_has_one_key_and_no_type() -> None:
    """Audio frames are the one untyped message, and their base64 gives the same bytes back."""
    example = next(sent for sent in SENT if "type" not in sent)
    assert json.loads(encode_audio(b64decode(example["user_audio_chunk"]))) == example


def test_the_table_builds_every_server_message() -> None:
    """No server dataclass is without a wire type, except the one for types that we do not know."""
    minimal = {example["type"]: decode(json.dumps(example)) for example in RECEIVED}
    minimal["dtmf_request"] = decode(wire("dtmf_request"))
    minimal["audio_alignment"] = decode(
        wire("audio_alignment", alignment={"chars": [], "char_start_times_ms": [], "char_durations_ms": []})
    )
    assert minimal.keys() == SERVER_MESSAGES.keys()
    assert {type(message) for message in minimal.values()} == set(get_args(m.ServerMessage)) - {m.Unknown}


# ------------------------------------------------------------------------------------- what is tolerated
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (wire("shiny_new_event", x=[1]), m.Unknown("shiny_new_event")),
        (wire("x" * 1000), m.Unknown("x" * 64)),
        (wire("interruption"), m.Interruption()),
        (wire("interruption", interruption_event=None), m.Interruption()),
        (wire("interruption", interruption_event={"event_id": "59", "reason": "user"}), m.Interruption(59, "user")),
        (wire("interruption", interruption_event={"event_id": True}), m.Interruption()),
        (wire("ping", ping_event={"event_id": "17", "ping_ms": "soon"}), m.Ping(17)),
        (wire("user_transcript", user_transcription_event={"user_transcript": "hi"}), m.UserTranscript("hi")),
        (wire("vad_score", vad_event={"score": 1}), m.VadScore(1.0)),
        (wire("internal_vad_score", vad_score_event={"vad_score": 0}), m.VadScore(0.0)),
        (wire("error", code=1008, reason="no"), m.ServerError(1008, "no")),
        (wire("error"), m.ServerError()),
        (wire("client_error", error_event={"code": {}, "message": 5}), m.ServerError()),
        (wire("audio", audio_event={"audio_base64": "AAA="}), m.Audio(b"\0\0")),
        (wire("audio", audio_event={"audio_base_64": "AAAA", "event_id": 7}), m.Audio(b"\0\0\0", 7)),
        (
            wire("conversation_initiation_metadata", conversation_id="c", agent_output_audio_format="ulaw_8000"),
            m.Metadata("c", "ulaw_8000", "pcm_16000"),
        ),
        (
            wire("client_tool_call", client_tool_call={"tool_name": "t", "tool_call_id": "i", "parameters": None}),
            m.ClientToolCall("t", "i", {}),
        ),
        (
            wire("agent_chat_response_part", text_response_part={"text": "a", "event_id": "evt_1"}),
            m.AgentChatResponsePart("a", "delta", "evt_1"),
        ),
        (
            wire("agent_tool_response", agent_tool_response={"tool_name": "end_call", "is_called": False}),
            m.AgentToolResponse("end_call", "", is_called=False),
        ),
        (wire("dtmf_request", digits="1"), m.DtmfRequest({"type": "dtmf_request", "digits": "1"})),
    ],
)
def test_harmless_deviations_are_tolerated(message: str, expected: m.ServerMessage) -> None:
    """Older shapes, flat payloads, ids as strings, missing and unreadable optional fields cost nothing."""
    assert decode(message) == expected


@pytest.mark.parametrize(
    "alignment",
    [
        5,
        {},
        {"chars": "abc", "char_start_times_ms": [0], "char_durations_ms": [1]},
        {"chars": ["a", "b"], "char_start_times_ms": [0], "char_durations_ms": [1]},
    ],
)
def test_a_broken_alignment_does_not_cost_the_audio(alignment: Any) -> None:
    """Audio sounds even if the text that belongs to it cannot be placed."""
    audio = {"audio_base_64": "AAA=", "alignment": alignment}
    assert decode(wire("audio", audio_event=audio)) == m.Audio(b"\0\0")


LEAST_AND_MOST: list[tuple[str, m.ServerMessage]] = [
    (
        wire("agent_response_correction", agent_response_correction_event={"corrected_agent_response": "a"}),
        m.AgentResponseCorrection("", "a", None),
    ),
    (wire("client_tool_call", tool_name="t", tool_call_id="i"), m.ClientToolCall("t", "i", {}, None, True)),
    (wire("agent_tool_request", tool_name="t"), m.AgentToolRequest("t", "", "", None)),
    (wire("agent_tool_response", tool_name="t"), m.AgentToolResponse("t", "", "", False, None, None, True)),
    (
        wire("agent_tool_response", tool_name="t", tool_call_id="i", tool_type="k", is_error=True, event_id=1,
             full_tool_result="r", is_called=False),
        m.AgentToolResponse("t", "i", "k", True, 1, "r", False),
    ),
    (wire("mcp_tool_call", tool_call_id="i", state="s"), m.McpToolCall("", "i", "", "s", 300.0)),
    (
        wire("mcp_tool_call", tool_call_id="i", state="s", service_id="x", tool_name="t", approval_timeout_secs=20),
        m.McpToolCall("x", "i", "t", "s", 20.0),
    ),
    (wire("context_usage"), m.ContextUsage(None, None, None, None)),
    (wire("guardrail_triggered", guardrail_name="g"), m.GuardrailTriggered("g")),
    (wire("rich_content", rich_content_id="i", component="c"), m.RichContent("i", "c", {}, None)),
    (wire("agent_typing", is_typing=False), m.AgentTyping(False, None)),
    (wire("error", code=1, message="m", error_name="n"), m.ServerError(1, "m", "n")),
    (wire("error", reason="r", error_type="t", error_name="n"), m.ServerError(None, "r", "t")),
    (wire("agent_chat_response_part", text_response_part={"text": "a", "type": "other"}),
     m.AgentChatResponsePart("a", "delta", None)),
    (wire("audio", audio_base_64="AAA=", is_final=True, event_id=3), m.Audio(b"\0\0", 3, None, True)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), LEAST_AND_MOST)
def test_what_may_be_missing_has_its_default_and_what_is_there_is_read(message: str, expected: m.ServerMessage) -> None:
    """Each optional field, once without and once with a value that is not its default."""
    assert decode(message) == expected


def test_an_alignment_whose_parts_differ_in_number_is_out_of_range() -> None:
    """Where it is all that the message holds, the message is skipped, and the reason counted."""
    for starts, durations in (([0], [1, 1]), ([0, 1], [1]), ([0], [1])):
        alignment = {"chars": ["a", "b"], "char_start_times_ms": starts, "char_durations_ms": durations}
        assert decode(wire("audio_alignment", alignment=alignment)) == m.Skipped("out_of_range", "audio_alignment")


def test_half_an_emoji_becomes_writable_text() -> None:
    """A lone surrogate, cut off by streaming, is replaced wherever it stands: every text can be printed."""
    call = {"tool_name": "\ud83d", "tool_call_id": "i", "parameters": {"\ud83d": ["\ude00", {"x": "Grüße 😀"}]}}
    assert decode(wire("client_tool_call", client_tool_call=call)) == m.ClientToolCall(
        "?", "i", {"?": ["?", {"x": "Grüße 😀"}]}
    )
    assert decode(wire("\ud83d")) == m.Unknown("?")


# -------------------------------------------------------------------------------------- what is skipped
def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def tool_call(parameters: Any) -> str:
    call = {"tool_name": "t", "tool_call_id": "i", "parameters": parameters}
    return wire("client_tool_call", client_tool_call=call)


SKIPPED: list[tuple[bytes | str, str, str]] = [
    (b"\xff{}", "bad_utf8", ""),
    (b'{"type":"ping\xc0\xaf"}', "bad_utf8", ""),
    (b"\xed\xa0\x80", "bad_utf8", ""),
    ("", "bad_json", ""),
    ('{"type":', "bad_json", ""),
    ("{'type':'ping'}", "bad_json", ""),
    ('{"type":"ping"} {}', "bad_json", ""),
    ('\ufeff{"type":"ping"}', "bad_json", ""),
    ('{"n":' + "9" * 5000 + "}", "bad_json", ""),
    ('{"type":"vad_score","vad_score_event":{"vad_score":NaN}}', "not_finite", ""),
    ('{"n":-Infinity}', "not_finite", ""),
    ('{"n":1e999}', "not_finite", ""),
    ("[" * 100_000, "too_deep", ""),
    ('{"a":' * 100_000, "too_deep", ""),
    (tool_call({"x": nested(MAX_DEPTH)}), "too_deep", "client_tool_call"),
    ("[]", "not_an_object", ""),
    ("null", "not_an_object", ""),
    ("17", "not_an_object", ""),
    ('"ping"', "not_an_object", ""),
    ("{}", "no_type", ""),
    ('{"type":null}', "no_type", ""),
    ('{"type":["ping"]}', "no_type", ""),
    (wire("ping"), "missing_field", "ping"),
    (wire("ping", ping_event=[17]), "missing_field", "ping"),
    (wire("audio", audio_event={"event_id": 1}), "missing_field", "audio"),
    (wire("client_tool_call", client_tool_call={"tool_name": "t"}), "missing_field", "client_tool_call"),
    (wire("ping", ping_event={"event_id": True}), "wrong_type", "ping"),
    (wire("ping", ping_event={"event_id": 1.5}), "wrong_type", "ping"),
    (wire("ping", ping_event={"event_id": "seventeen"}), "wrong_type", "ping"),
    (wire("ping", ping_event={"event_id": "9" * 5000}), "wrong_type", "ping"),
    (wire("ping", ping_event={"event_id": "١٧"}), "wrong_type", "ping"),
    (wire("user_transcript", user_transcription_event={"user_transcript": 5}), "wrong_type", "user_transcript"),
    (wire("vad_score", vad_score_event={"vad_score": "0.5"}), "wrong_type", "vad_score"),
    (wire("agent_typing", agent_typing_event={"is_typing": 1}), "wrong_type", "agent_typing"),
    (
        wire("mcp_connection_status", mcp_connection_status={"integrations": {}}),
        "wrong_type",
        "mcp_connection_status",
    ),
    (tool_call("on"), "wrong_type", "client_tool_call"),
    (wire("vad_score", vad_score_event={"vad_score": 1.01}), "out_of_range", "vad_score"),
    (wire("vad_score", vad_score_event={"vad_score": -(10**400)}), "out_of_range", "vad_score"),
    *(
        (wire("audio", audio_event={"audio_base_64": bad}), "bad_base64", "audio")
        for bad in (
            "AAA",
            "A",
            "AA==AA==",
            "AA\nAA",
            " AAAA",
            "AA-_",
            "=",
            "ÄÄÄÄ",
            "AAAA=",
            "AAAA====",
            "AA=AAAA=",
            "\ud83d",
        )
    ),
    (wire("audio", audio_event={"audio_base_64": [0, 0]}), "wrong_type", "audio"),
]


@pytest.mark.parametrize(("data", "reason", "wire_type"), SKIPPED)
def test_what_cannot_be_used_is_skipped_with_its_reason(data: bytes | str, reason: str, wire_type: str) -> None:
    """Malformed input is never an exception, but a reason to count, with the type where one was readable."""
    assert decode(data) == m.Skipped(reason, wire_type)


def test_the_reasons_are_a_closed_set() -> None:
    """Each reason has an example above, and each example's reason is in the set that metrics are made from."""
    assert {reason for _, reason, _ in SKIPPED} == REASONS


def test_tool_parameters_may_be_as_deep_as_the_limit() -> None:
    """The depth limit refuses nothing below it."""
    message = decode(tool_call({"x": nested(MAX_DEPTH - 1)}))
    assert isinstance(message, m.ClientToolCall)


# ------------------------------------------------------------------------------------------- to the server
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (m.Initiation(), {"type": "conversation_initiation_client_data"}),
        (
            m.Initiation(branch_id="b", environment="staging"),
            {"type": "conversation_initiation_client_data", "branch_id": "b", "environment": "staging"},
        ),
        (
            m.ClientToolResult("i", ""),
            {"type": "client_tool_result", "tool_call_id": "i", "result": "", "is_error": False},
        ),
        (m.ContextualUpdate("t"), {"type": "contextual_update", "text": "t"}),
        (m.MultimodalMessage("t"), {"type": "multimodal_message", "text": {"type": "user_message", "text": "t"}}),
        (
            m.MultimodalMessage(file_ids=("a", "b")),
            {
                "type": "multimodal_message",
                "file": {"type": "file_input", "file_id": "a"},
                "files": [{"type": "file_input", "file_id": "a"}, {"type": "file_input", "file_id": "b"}],
            },
        ),
    ],
)
def test_unset_fields_do_not_appear_on_the_wire(message: m.ClientMessage, expected: dict[str, Any]) -> None:
    """An empty optional field is left out, never sent as null or an empty text; a required one is sent empty."""
    assert json.loads(encode(message)) == expected


def test_nan_is_never_sent() -> None:
    """A configured NaN is refused by us rather than by the server, which would close the call."""
    with pytest.raises(ValueError, match="JSON"):
        encode(m.Initiation(dynamic_variables={"level": float("nan")}))


# --------------------------------------------------------------------------------------------------- speed
def test_a_quarter_megabyte_of_audio_is_decoded_at_once() -> None:
    """Six seconds of voice in one event of 250 kB leave the link thread free for its pongs."""
    voice = bytes(range(250)) * 750
    data = wire("audio", audio_event={"audio_base_64": b64encode(voice).decode(), "event_id": 1}).encode()
    assert decode(data) == m.Audio(voice, 1)

    def seconds() -> float:
        start = time.perf_counter()
        decode(data)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(50)) < 0.02
