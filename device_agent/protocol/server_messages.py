"""What the server may say: one builder per message, and the table of wire types.

A builder takes the message's payload and raises `Refused` when a field that the message needs is missing or
wrong; a field that it can do without takes its default instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from device_agent.protocol import messages as m
from device_agent.protocol.fields import (
    Event,
    Json,
    Refused,
    base64_bytes,
    between,
    boolean,
    integer,
    integer_or_text,
    list_of,
    mapping,
    optional,
    required,
    text,
)

_DEFAULT_INPUT_FORMAT = "pcm_16000"
_probability = between(0, 1)
_seconds = between(0, 86_400)


def _event_id(event: Event) -> int | None:
    return optional(event, integer, "event_id", None)


def _metadata(event: Event) -> m.Metadata:
    return m.Metadata(
        required(event, text, "conversation_id"),
        required(event, text, "agent_output_audio_format"),
        optional(event, text, "user_input_audio_format", _DEFAULT_INPUT_FORMAT),
    )


def _audio(event: Event) -> m.Audio:
    return m.Audio(
        # Only `audio_base_64` is documented; the Android SDK also takes the other.
        required(event, base64_bytes, "audio_base_64", "audio_base64"),
        _event_id(event),
        optional(event, _alignment, "alignment", None),
        optional(event, boolean, "is_final", False),
    )


def _alignment(value: Json) -> m.Alignment:
    event = mapping(value)
    chars = required(event, list_of(text), "chars")
    start_ms = required(event, list_of(integer), "char_start_times_ms")
    duration_ms = required(event, list_of(integer), "char_durations_ms")
    if not len(chars) == len(start_ms) == len(duration_ms):
        raise Refused("out_of_range")
    return m.Alignment(chars, start_ms, duration_ms)


def _audio_alignment(event: Event) -> m.AudioAlignment:
    return m.AudioAlignment(required(event, _alignment, "alignment"), _event_id(event))


def _user_transcript(event: Event) -> m.UserTranscript:
    return m.UserTranscript(required(event, text, "user_transcript"), _event_id(event))


def _tentative_user_transcript(event: Event) -> m.TentativeUserTranscript:
    return m.TentativeUserTranscript(required(event, text, "user_transcript"), _event_id(event))


def _agent_response(event: Event) -> m.AgentResponse:
    return m.AgentResponse(required(event, text, "agent_response"), _event_id(event))


def _agent_response_correction(event: Event) -> m.AgentResponseCorrection:
    return m.AgentResponseCorrection(
        optional(event, text, "original_agent_response", ""),
        required(event, text, "corrected_agent_response"),
        _event_id(event),
    )


def _interruption(event: Event) -> m.Interruption:
    return m.Interruption(_event_id(event), optional(event, text, "reason", None))


def _ping(event: Event) -> m.Ping:
    return m.Ping(required(event, integer, "event_id"), optional(event, integer, "ping_ms", None))


def _client_tool_call(event: Event) -> m.ClientToolCall:
    return m.ClientToolCall(
        required(event, text, "tool_name"),
        required(event, text, "tool_call_id"),
        # Missing means none, but a tool must not run without parameters that it was given and we cannot read.
        {} if event.get("parameters") is None else mapping(event["parameters"]),
        _event_id(event),
        optional(event, boolean, "expects_response", True),
    )


def _contextual_update(event: Event) -> m.ContextualUpdateReceived:
    return m.ContextualUpdateReceived(required(event, text, "text"))


def _vad_score(event: Event) -> m.VadScore:
    return m.VadScore(required(event, _probability, "vad_score", "score"))


def _turn_probability(event: Event) -> m.TurnProbability:
    return m.TurnProbability(required(event, _probability, "turn_probability", "probability"))


def _tentative_agent_response(event: Event) -> m.TentativeAgentResponse:
    return m.TentativeAgentResponse(required(event, text, "tentative_agent_response"))


def _agent_chat_response_part(event: Event) -> m.AgentChatResponsePart:
    return m.AgentChatResponsePart(*_text_part(event))


def _agent_reasoning_response_part(event: Event) -> m.AgentReasoningResponsePart:
    return m.AgentReasoningResponsePart(*_text_part(event))


def _text_part(event: Event) -> tuple[str, str, int | str | None]:
    kind = event.get("type")
    return (
        required(event, text, "text"),
        kind if kind in ("start", "stop") else "delta",
        optional(event, integer_or_text, "event_id", None),
    )


def _agent_response_complete(event: Event) -> m.AgentResponseComplete:
    return m.AgentResponseComplete(_event_id(event))


def _agent_response_metadata(event: Event) -> m.AgentResponseMetadata:
    return m.AgentResponseMetadata(required(event, mapping, "metadata"), _event_id(event))


def _agent_tool_request(event: Event) -> m.AgentToolRequest:
    return m.AgentToolRequest(
        required(event, text, "tool_name"),
        optional(event, text, "tool_call_id", ""),
        optional(event, text, "tool_type", ""),
        _event_id(event),
    )


def _agent_tool_response(event: Event) -> m.AgentToolResponse:
    return m.AgentToolResponse(
        required(event, text, "tool_name"),
        optional(event, text, "tool_call_id", ""),
        optional(event, text, "tool_type", ""),
        optional(event, boolean, "is_error", False),
        _event_id(event),
        optional(event, text, "full_tool_result", None),
        optional(event, boolean, "is_called", True),
    )


def _mcp_tool_call(event: Event) -> m.McpToolCall:
    return m.McpToolCall(
        optional(event, text, "service_id", ""),
        required(event, text, "tool_call_id"),
        optional(event, text, "tool_name", ""),
        required(event, text, "state"),
        optional(event, _seconds, "approval_timeout_secs", 300.0),
    )


def _mcp_connection_status(event: Event) -> m.McpConnectionStatus:
    return m.McpConnectionStatus(required(event, list_of(mapping), "integrations"))


def _asr_initiation_metadata(event: Event) -> m.AsrInitiationMetadata:
    return m.AsrInitiationMetadata(mapping(event))


def _context_usage(event: Event) -> m.ContextUsage:
    return m.ContextUsage(
        optional(event, integer, "context_tokens", None),
        optional(event, integer, "context_limit_tokens", None),
        optional(event, text, "model", None),
        _event_id(event),
    )


def _guardrail_triggered(event: Event) -> m.GuardrailTriggered:
    return m.GuardrailTriggered(optional(event, text, "guardrail_name", None))


def _rich_content(event: Event) -> m.RichContent:
    return m.RichContent(
        required(event, text, "rich_content_id"),
        required(event, text, "component"),
        optional(event, mapping, "props", {}),
        _event_id(event),
    )


def _agent_typing(event: Event) -> m.AgentTyping:
    return m.AgentTyping(required(event, boolean, "is_typing"), optional(event, integer, "duration_ms", None))


def _external_agent_connected(event: Event) -> m.ExternalAgent:
    return m.ExternalAgent(connected=True)


def _external_agent_disconnected(event: Event) -> m.ExternalAgent:
    return m.ExternalAgent(connected=False)


def _queue_status(event: Event) -> m.QueueStatus:
    return m.QueueStatus(required(event, text, "status"))


def _server_error(event: Event) -> m.ServerError:
    return m.ServerError(
        optional(event, integer, "code", None),
        optional(event, text, "message", "") or optional(event, text, "reason", ""),
        optional(event, text, "error_type", "") or optional(event, text, "error_name", ""),
    )


def _dtmf_request(event: Event) -> m.DtmfRequest:
    return m.DtmfRequest(mapping(event))


# Wire type → its builder, and the key or keys under which the payload may be nested.
SERVER_MESSAGES: Mapping[str, tuple[Callable[[Event], m.ServerMessage], *tuple[str, ...]]] = {
    "agent_chat_response_part": (_agent_chat_response_part, "text_response_part"),
    "agent_reasoning_response_part": (_agent_reasoning_response_part, "reasoning_response_part"),
    "agent_response": (_agent_response, "agent_response_event"),
    "agent_response_complete": (_agent_response_complete, "agent_response_complete_event"),
    "agent_response_correction": (_agent_response_correction, "agent_response_correction_event"),
    "agent_response_metadata": (_agent_response_metadata, "agent_response_metadata_event"),
    "agent_tool_request": (_agent_tool_request, "agent_tool_request"),
    "agent_tool_response": (_agent_tool_response, "agent_tool_response"),
    "agent_tool_response_full_payload": (_agent_tool_response, "agent_tool_response_full_payload"),
    "agent_typing": (_agent_typing, "agent_typing_event"),
    "asr_initiation_metadata": (_asr_initiation_metadata, "asr_initiation_metadata_event"),
    "audio": (_audio, "audio_event"),
    "audio_alignment": (_audio_alignment, "audio_alignment_event"),
    "client_error": (_server_error, "error_event"),
    "client_tool_call": (_client_tool_call, "client_tool_call"),
    "context_usage": (_context_usage, "context_usage_event"),
    "contextual_update": (_contextual_update,),
    "conversation_initiation_metadata": (_metadata, "conversation_initiation_metadata_event"),
    "dtmf_request": (_dtmf_request,),
    "error": (_server_error, "error_event"),
    "external_agent_connected": (_external_agent_connected,),
    "external_agent_disconnected": (_external_agent_disconnected,),
    "guardrail_triggered": (_guardrail_triggered, "guardrail_triggered_event"),
    "internal_tentative_agent_response": (
        _tentative_agent_response,
        "tentative_agent_response_internal_event",
    ),
    "internal_turn_probability": (_turn_probability, "turn_probability_internal_event", "turn_event"),
    "internal_vad_score": (_vad_score, "vad_event", "vad_score_event"),
    "interruption": (_interruption, "interruption_event"),
    "mcp_connection_status": (_mcp_connection_status, "mcp_connection_status"),
    "mcp_tool_call": (_mcp_tool_call, "mcp_tool_call"),
    "ping": (_ping, "ping_event"),
    "queue_status": (_queue_status, "queue_status_event"),
    "rich_content": (_rich_content, "rich_content"),
    "tentative_user_transcript": (_tentative_user_transcript, "tentative_user_transcription_event"),
    "user_transcript": (_user_transcript, "user_transcription_event"),
    "vad_score": (_vad_score, "vad_score_event", "vad_event"),
}
