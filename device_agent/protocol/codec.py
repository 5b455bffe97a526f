"""JSON text ↔ typed messages. `decode` never raises: what it cannot use is `Skipped`, with a reason to count."""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NoReturn

from device_agent.protocol.fields import Event, Json, Refused, text
from device_agent.protocol.messages import ClientMessage, Initiation, MultimodalMessage, ServerMessage, Skipped, Unknown
from device_agent.protocol.server_messages import SERVER_MESSAGES

REASONS = frozenset(
    {
        "bad_utf8",
        "bad_json",
        "not_finite",  # NaN, Infinity, 1e999
        "too_deep",
        "not_an_object",
        "no_type",
        "missing_field",
        "wrong_type",
        "out_of_range",
        "bad_base64",
    }
)
"""Every `Skipped.reason` that `decode` can give."""

_MAX_TYPE_LENGTH = 64


def decode(data: bytes | bytearray | str) -> ServerMessage | Skipped:
    """The typed message in one text frame. Never raises. A type that we do not know is `Unknown`."""
    try:
        message = _parse(data)
    except Refused as refused:
        return Skipped(refused.reason)
    wire_type = message.get("type")
    if not isinstance(wire_type, str):
        return Skipped("no_type")
    if wire_type not in SERVER_MESSAGES:
        return Unknown(text(wire_type[:_MAX_TYPE_LENGTH]))
    build, *payload_keys = SERVER_MESSAGES[wire_type]
    try:
        return build(_payload(message, payload_keys))
    except Refused as refused:
        return Skipped(refused.reason, wire_type)


def encode(message: ClientMessage) -> str:
    """One text frame. Raises ValueError for NaN or infinity, which JSON cannot write."""
    build = _NOT_FLAT.get(type(message), _flat)
    return json.dumps({"type": message.type, **build(message)}, separators=(",", ":"), allow_nan=False)


def encode_audio(data: bytes) -> str:
    """One text frame of microphone audio, in the negotiated input format. The only message without a type."""
    return '{"user_audio_chunk":"' + binascii.b2a_base64(data, newline=False).decode("ascii") + '"}'


# ------------------------------------------------------------------------------- from the server
def _parse(data: bytes | bytearray | str) -> Event:
    try:
        value = _JSON.decode(data if isinstance(data, str) else data.decode())
    except UnicodeDecodeError as error:
        raise Refused("bad_utf8") from error
    except RecursionError as error:
        raise Refused("too_deep") from error
    except ValueError as error:  # also an integer of more digits than Python converts
        raise Refused("bad_json") from error
    if not isinstance(value, dict):
        raise Refused("not_an_object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise Refused("not_finite")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise Refused("not_finite")
    return number


_JSON = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _payload(message: Event, keys: Sequence[str]) -> Event:
    """The nested object, or the message itself: some sources are flat, and an empty payload may be left out."""
    return next((message[key] for key in keys if isinstance(message.get(key), dict)), message)


# ------------------------------------------------------------------------------- to the server
def _flat(message: ClientMessage) -> dict[str, Json]:
    """Every field under its own name; an empty text is unset where empty is the default."""
    values = {field.name: (getattr(message, field.name), field.default) for field in fields(message)}
    return {name: value for name, (value, default) in values.items() if not value == default == ""}


def _initiation(message: Initiation) -> dict[str, Json]:
    values = {
        "conversation_config_override": message.config_override,
        "custom_llm_extra_body": message.extra_body,
        "dynamic_variables": message.dynamic_variables,
        "user_id": message.user_id,
        "branch_id": message.branch_id,
        "environment": message.environment,
    }
    return {name: value for name, value in values.items() if value}


def _multimodal_message(message: MultimodalMessage) -> dict[str, Json]:
    wire: dict[str, Json] = {}
    if message.text:
        wire["text"] = {"type": "user_message", "text": message.text}
    if message.file_ids:
        files = [{"type": "file_input", "file_id": file_id} for file_id in message.file_ids]
        wire |= {"file": files[0], "files": files}  # older servers know only the first
    return wire


_NOT_FLAT: Mapping[type[ClientMessage], Callable[[Any], dict[str, Json]]] = {
    Initiation: _initiation,
    MultimodalMessage: _multimodal_message,
}
