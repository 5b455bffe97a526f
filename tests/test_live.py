"""What `script/test-live` concludes from two recordings of the wire."""

from __future__ import annotations

import json

import pytest

from device_agent.bench.live import answers, differing_order, differing_shapes, read, report
from device_agent.errors import DeviceAgentError


def line(t: float, way: str, kind: str, **fields: str) -> str:
    return json.dumps({"t": t, "dir": way, "type": kind, "fields": fields, "bytes": 0})


OPENING = line(0.1, "in", "conversation_initiation_metadata", conversation_id="string[15]")
TALK = (
    OPENING,
    line(1.0, "in", "ping", event_id="number"),
    line(2.0, "in", "agent_response", text="string[20]"),
    line(3.0, "in", "ping", event_id="number"),
)


def test_sizes_do_not_make_shapes_differ() -> None:
    """A text of another length is the same shape; so is the same conversation once more."""
    other = [one.replace("string[20]", "string[99]") for one in TALK]
    assert not list(differing_shapes(read(TALK), read(other)))
    assert not list(differing_order(read(TALK), read(TALK)))


def test_types_and_fields_of_one_side_only_are_named() -> None:
    """Each type or field that one recording lacks gets a line."""
    live = (*TALK, line(4.0, "in", "queue_status", status="string[7]"), line(5.0, "in", "ping", ping_ms="number"))
    assert list(differing_shapes(read(live), read(TALK))) == [
        "in ping: ping_ms: number: only in the live recording",
        "in queue_status: only in the live recording: status: string",
    ]
    assert next(iter(differing_shapes(read(TALK), read(live)))) == "in ping: ping_ms: number: only in the simulator's"


def test_another_order_is_named() -> None:
    """Types whose first appearances change places are told as pairs."""
    live = (TALK[0], TALK[2], TALK[1])
    assert list(differing_order(read(live), read(TALK))) == [
        "agent_response first came before ping; the simulator sends it after"
    ]


def test_answers_say_what_the_recording_shows() -> None:
    """Ping interval, queue before metadata, audio after an interruption, close frames."""
    wire = read(
        (
            line(0.0, "in", "queue_status"),
            *TALK,
            line(4.0, "in", "audio"),
            line(5.0, "in", "interruption"),
            line(5.1, "in", "audio"),
            line(6.0, "in", "agent_response"),
            line(6.1, "in", "audio"),
            line(7.0, "in", "(close 1000)"),
        )
    )
    assert list(answers(wire))[:4] == [
        "ping interval: median 2.00 s, from 2.00 to 2.00 s (2 pings)",
        "queue_status before the metadata: yes",
        "audio after an interruption: 1 audio events before the next agent_response (1 interruptions)",
        "close: in (close 1000)",
    ]


def test_what_was_not_seen_is_said_to_be_unknown() -> None:
    """No answer is made up, and a short conversation is called weak."""
    said = "\n".join(report(read([OPENING]), read(TALK)))
    assert "0 pings: too few to tell" in said
    assert "the call was not queued: cannot be told" in said
    assert "nothing was interrupted" in said
    assert "no close frame in either direction" in said
    assert "the answers are weak" in said


def test_a_recording_without_a_conversation_is_an_error() -> None:
    """No metadata, no comparison."""
    with pytest.raises(DeviceAgentError, match="no conversation came about"):
        read([line(0.0, "out", "(open)")])
