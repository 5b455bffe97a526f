"""Whatever the network brings, the codec answers with a value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.protocol import messages as m
from device_agent.protocol.codec import REASONS, decode, encode_audio
from device_agent.protocol.server_messages import SERVER_MESSAGES

EXAMPLES = [json.loads(line)["message"] for line in (Path(__file__).parent / "data/protocol_examples.jsonl").open()]
SERVER_TYPES = get_args(m.ServerMessage)
fuzz = settings(max_examples=120, deadline=None, database=None)

# Surrogates included: JSON can carry them although UTF-8 cannot.
texts = st.text(st.characters(), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)


@st.composite
def mutated_examples(draw: st.DrawFn) -> Any:
    """A documented message in which one value, at any depth, was replaced or removed."""
    message = json.loads(json.dumps(draw(st.sampled_from(EXAMPLES))))
    node = message
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], (dict, list)) and node[key] and draw(st.booleans()):
            node = node[key]
        elif draw(st.booleans()):
            del node[key]
            return message
        else:
            node[key] = draw(json_values)
            return message


def check(data: bytes | str) -> None:
    """`decode` gives a typed message or a known reason, and all its text can be written as UTF-8."""
    message = decode(data)
    assert isinstance(message, SERVER_TYPES) or message.reason in REASONS
    repr(message).encode()


@fuzz
@given(mutated_examples())
def test_a_damaged_message_never_raises(message: Any) -> None:
    """Documented messages with one wrong, null or missing value are decoded or skipped."""
    check(json.dumps(message))


@fuzz
@given(st.sampled_from(sorted(SERVER_MESSAGES)), st.dictionaries(texts, json_values, max_size=4), st.data())
def test_a_known_type_with_any_payload_never_raises(
    wire_type: str, payload: dict[str, Any], data: st.DataObject
) -> None:
    """Every known type with a random payload, flat or nested, is decoded or skipped."""
    nested = {key: data.draw(json_values) for key in SERVER_MESSAGES[wire_type][1:]}
    check(json.dumps({**payload, **nested, "type": wire_type}))


@fuzz
@given(json_values)
def test_any_json_never_raises(value: Any) -> None:
    """JSON of any kind is decoded or skipped."""
    check(json.dumps(value))


@fuzz
@given(st.binary(max_size=200) | texts)
def test_any_bytes_never_raise(data: bytes | str) -> None:
    """Random bytes and text are decoded or skipped."""
    check(data)


@fuzz
@given(st.sampled_from(EXAMPLES), st.data())
def test_a_damaged_frame_never_raises(message: Any, data: st.DataObject) -> None:
    """A documented message with a stretch of bytes overwritten, inserted or cut away is decoded or skipped."""
    frame = json.dumps(message).encode()
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(frame))] * 2)))
    check(frame[:start] + data.draw(st.binary(max_size=8)) + frame[end:])


@fuzz
@given(st.binary(max_size=2000))
def test_audio_survives_the_wire(voice: bytes) -> None:
    """What `encode_audio` writes is base64 that `decode` reads back, odd lengths included."""
    chunk = json.loads(encode_audio(voice))["user_audio_chunk"]
    assert decode(json.dumps({"type": "audio", "audio_event": {"audio_base_64": chunk}})) == m.Audio(voice)
