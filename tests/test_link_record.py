"""`run --record-wire`: the shape of a conversation, without its contents."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from link_peer import METADATA, rig

from device_agent.core.commands import Send, SendSilence
from device_agent.core.events import AgentAudio, LinkEnded, WireSkipped
from device_agent.link.record import Recorder, shape
from device_agent.protocol.messages import Initiation, UserMessage


@pytest.mark.parametrize(
    ("message", "wire_type", "fields"),
    [
        (json.dumps(METADATA), "conversation_initiation_metadata", {
            "conversation_initiation_metadata_event.conversation_id": "string[6]",
            "conversation_initiation_metadata_event.agent_output_audio_format": "string[9]",
            "conversation_initiation_metadata_event.user_input_audio_format": "string[9]",
        }),
        ('{"type": "x", "a": [1, 2], "b": null, "c": 1.5, "d": true}', "x",
         {"a": "array[2]", "b": "null", "c": "number", "d": "boolean"}),
        ('{"user_audio_chunk": "AAAA"}', "(no type)", {"user_audio_chunk": "string[4]"}),
        ('{"type": "my secret", "my secret": 1}', "(other)", {"(other)": "number"}),
        ('{"type": "t", "parameters": {"secret": 1}}', "t", {"parameters": "object[1]"}),
        ('{"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}', "(no type)", {"a.b.c.d.e": "object[1]"}),
        ("{bad", "(not JSON)", {}),
        ("[" * 50_000, "(not JSON)", {}),
        ("[1]", "(not an object)", {}),
    ],
)  # fmt: skip
def test_a_message_has_a_shape(message: str, wire_type: str, fields: dict[str, str]):
    """Names, kinds and sizes; values never, and no names that somebody chose."""
    assert shape(message) == (wire_type, fields)


def test_the_number_of_fields_is_bounded():
    """A line stays a line."""
    assert len(shape(json.dumps({f"f{i}": i for i in range(1000)}))[1]) == 200


def test_a_conversation_leaves_lines_and_no_contents(tmp_path: Path):
    """One JSON object per message in order, with times that grow."""
    file = tmp_path / "wire.jsonl"
    recorder = Recorder(file)
    with rig(recorder=recorder) as r:
        peer = r.open(say=None)
        r.link.send(Send(1, Initiation(dynamic_variables={"canary": "canary"})))
        peer.read()
        peer.say(METADATA)
        canary = base64.b64encode(b"canary").decode()
        peer.say({"type": "audio", "audio_event": {"audio_base_64": canary, "event_id": 1}})
        r.events.next(AgentAudio)
        peer.frame(2, b"canary")
        r.events.next(WireSkipped)
        r.link.send(Send(1, UserMessage("canary")))
        assert peer.read()["text"] == "canary"
        r.link.send_silence(SendSilence(1))
        r.link.rouse()
        peer.read()
        peer.frame(8, b"\x03\xe8canary")
        r.events.next(LinkEnded)
    recorder.close()
    text = file.read_text()
    assert "canary" not in text
    assert base64.b64encode(b"canary").decode() not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["dir"], line["type"]) for line in lines] == [
        ("out", "(open)"),
        ("out", "conversation_initiation_client_data"),
        ("in", "conversation_initiation_metadata"),
        ("in", "audio"),
        ("in", "(binary)"),
        ("out", "user_message"),
        ("out", "(no type)"),
        ("in", "(close 1000)"),
        ("out", "(close 1000)"),
    ]
    assert lines[3]["fields"] == {"audio_event.audio_base_64": "string[8]", "audio_event.event_id": "number"}
    times = [line["t"] for line in lines]
    assert times == sorted(times)
