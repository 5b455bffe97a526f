"""What the server says, written out a second time on purpose: the client's codec must agree with it."""

from __future__ import annotations

import base64
from typing import Any

Message = dict[str, Any]


def metadata(conversation_id: str, output_format: str, input_format: str) -> Message:
    return _event(
        "conversation_initiation_metadata",
        conversation_id=conversation_id,
        agent_output_audio_format=output_format,
        user_input_audio_format=input_format,
    )


def audio(data: bytes, event_id: int, alignment: Message | None = None, is_final: bool = False) -> Message:
    event: Message = {"audio_base_64": base64.b64encode(data).decode(), "event_id": event_id}
    if alignment is not None:
        event["alignment"] = alignment
    return {"type": "audio", "audio_event": event | {"is_final": is_final}}


def user_transcript(text: str, event_id: int) -> Message:
    return {"type": "user_transcript", "user_transcription_event": {"user_transcript": text, "event_id": event_id}}


def tentative_user_transcript(text: str, event_id: int) -> Message:
    body = {"user_transcript": text, "event_id": event_id}
    return {"type": "tentative_user_transcript", "tentative_user_transcription_event": body}


def agent_response(text: str, event_id: int) -> Message:
    return _event("agent_response", agent_response=text, event_id=event_id)


def agent_response_correction(original: str, corrected: str, event_id: int) -> Message:
    return _event(
        "agent_response_correction",
        original_agent_response=original,
        corrected_agent_response=corrected,
        event_id=event_id,
    )


def tentative_agent_response(text: str) -> Message:
    body = {"tentative_agent_response": text}
    return {"type": "internal_tentative_agent_response", "tentative_agent_response_internal_event": body}


def agent_response_complete(event_id: int) -> Message:
    return _event("agent_response_complete", event_id=event_id)


def interruption(event_id: int) -> Message:
    return _event("interruption", event_id=event_id)


def ping(event_id: int, ping_ms: int | None) -> Message:
    return _event("ping", event_id=event_id, ping_ms=ping_ms)


def vad_score(score: float) -> Message:
    return _event("vad_score", vad_score=score)


def turn_probability(probability: float) -> Message:
    body = {"turn_probability": probability}
    return {"type": "internal_turn_probability", "turn_probability_internal_event": body}


def client_tool_call(name: str, call_id: str, parameters: Message, event_id: int) -> Message:
    body = {"tool_name": name, "tool_call_id": call_id, "parameters": parameters, "event_id": event_id}
    return {"type": "client_tool_call", "client_tool_call": body | {"expects_response": True}}


def agent_tool_response(name: str, call_id: str, event_id: int) -> Message:
    body = {"tool_name": name, "tool_call_id": call_id, "tool_type": "system", "event_id": event_id}
    return {"type": "agent_tool_response", "agent_tool_response": body | {"is_error": False, "is_called": True}}


def queue_status(status: str) -> Message:
    return _event("queue_status", status=status)


def _event(kind: str, **fields: Any) -> Message:
    return {"type": kind, f"{kind}_event": fields}
