"""Judges what a client sends, by the published schema and not by this project's codec."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

_SHAPES: dict[str, dict[str, tuple[type, ...]]] = {
    "pong": {"event_id": (int,)},
    "client_tool_result": {"tool_call_id": (str,), "result": (str,), "is_error": (bool,)},
    "contextual_update": {"text": (str,)},
    "user_message": {},
    "user_activity": {},
    "feedback": {"event_id": (int,), "score": (str, type(None))},
    "multimodal_message": {},
    "mcp_tool_approval_result": {"tool_call_id": (str,), "is_approved": (bool,)},
    "conversation_initiation_client_data": {},
}
"""Required fields of each message and the types they may have."""

_OPTIONAL: dict[str, dict[str, tuple[type, ...]]] = {
    "contextual_update": {"context_id": (str,)},
    "user_message": {"text": (str,), "rich_content_id": (str,)},
    "client_tool_result": {"error_type": (str, type(None))},
    "conversation_initiation_client_data": {
        "conversation_config_override": (dict,),
        "custom_llm_extra_body": (dict,),
        "dynamic_variables": (dict,),
        "source_info": (dict,),
        "user_id": (str,),
        "branch_id": (str,),
        "environment": (str,),
    },
}


@dataclass(frozen=True, slots=True)
class Received:
    """A judged message. `kind` is its type, ``user_audio_chunk``, or empty where it is beyond use."""

    kind: str
    body: dict[str, Any] = field(default_factory=dict)
    audio: bytes = b""
    violations: tuple[str, ...] = ()


def judge(message: str | bytes, sample_bytes: int = 2) -> Received:
    """Parses one frame. `sample_bytes` is the size of a sample in the negotiated input format."""
    if isinstance(message, bytes):
        return Received("", violations=(f"binary frame of {len(message)} bytes",))
    try:
        body = json.loads(message)
    except (ValueError, RecursionError) as error:
        return Received("", violations=(f"not JSON: {error}",))
    if not isinstance(body, dict):
        return Received("", violations=(f"not an object: {type(body).__name__}",))
    if "user_audio_chunk" in body:
        return _audio(body, sample_bytes)
    kind = body.get("type")
    if not isinstance(kind, str) or kind not in _SHAPES:
        return Received("", body, violations=(f"unknown type: {kind!r}",))
    return Received(kind, body, violations=tuple(_faults(kind, body)))


def _audio(body: dict[str, Any], sample_bytes: int) -> Received:
    faults = [f"user_audio_chunk with {sorted(set(body) - {'user_audio_chunk'})}"] if len(body) > 1 else []
    try:
        audio = base64.b64decode(body["user_audio_chunk"], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        return Received("", body, violations=(*faults, f"user_audio_chunk is not base64: {error}"))
    if rest := len(audio) % sample_bytes:
        faults.append(f"user_audio_chunk of {len(audio)} bytes is no whole number of samples")
        audio = audio[:-rest]
    return Received("user_audio_chunk", body, audio, tuple(faults))


def _faults(kind: str, body: dict[str, Any]) -> list[str]:
    missing = [f"{kind} without {name}" for name in _SHAPES[kind] if name not in body]
    types = _SHAPES[kind] | _OPTIONAL.get(kind, {})
    wrong = [
        f"{kind}.{name} is {type(body[name]).__name__}"
        for name, allowed in types.items()
        # bool is an int to Python, but not to JSON.
        if name in body
        and (not isinstance(body[name], allowed) or (isinstance(body[name], bool) and bool not in allowed))
    ]
    return missing + wrong


def overridden(initiation: dict[str, Any]) -> list[str]:
    """Names of the override fields that are set, as the refusal spells them."""
    override = initiation.get("conversation_config_override")
    return [name for name, _ in _leaves(override)] if isinstance(override, dict) else []


def first_message_override(initiation: dict[str, Any]) -> str | None:
    """The overriding first message, if one is set."""
    found = dict(_leaves(initiation.get("conversation_config_override") or {})).get("first_message")
    return found if isinstance(found, str) else None


def _leaves(tree: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += _leaves(value)
        elif value is not None:
            found.append((name, value))
    return found
