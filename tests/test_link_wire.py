"""What comes in: the guard on every frame, and messages that must not hurt."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import struct
import tracemalloc

import pytest
from link_peer import BINARY, CLOSE, METADATA, PING, PONG, TEXT, frame, metadata, rig

from device_agent.core.ending import End, Kind
from device_agent.core.events import AgentAudio, ServerSaid, WireSkipped
from device_agent.protocol.messages import AgentResponse, Ping, Unknown

CONT = 0
MIB = 1024 * 1024
ALIVE = {"type": "agent_response", "agent_response_event": {"agent_response": "here", "event_id": 1}}


def _audio(data: bytes, event_id: int = 1, **more: object) -> dict:
    return {
        "type": "audio",
        "audio_event": {"audio_base_64": base64.b64encode(data).decode(), "event_id": event_id, **more},
    }


@pytest.mark.parametrize(
    ("malformed", "skipped"),
    [
        ("{bad", ("bad_json", "")),
        ("[1]", ("not_an_object", "")),
        ("null", ("not_an_object", "")),
        ("{}", ("no_type", "")),
        (json.dumps({"type": "audio"}), ("missing_field", "audio")),
        (json.dumps({"type": "ping", "ping_event": {"event_id": []}}), ("wrong_type", "ping")),
        (json.dumps({"type": "audio", "audio_event": {"audio_base_64": "%%%"}}), ("bad_base64", "audio")),
        (json.dumps(_audio(b"odd")), ("odd_length", "audio")),
        (json.dumps(METADATA), ("second_metadata", "conversation_initiation_metadata")),
    ],
)
def test_a_malformed_message_is_skipped(malformed: str, skipped: tuple[str, str]):
    """It is reported by reason, and the conversation goes on."""
    with rig() as r:
        peer = r.open()
        peer.say(malformed)
        peer.say(ALIVE)
        assert r.events.next(WireSkipped) == WireSkipped(1, *skipped)
        assert r.events.next(ServerSaid).message == AgentResponse("here", 1)


def test_a_binary_message_is_skipped():
    """The service never sends one."""
    with rig() as r:
        peer = r.open()
        peer.frame(BINARY, b"\0\1")
        peer.say(ALIVE)
        assert r.events.next(WireSkipped) == WireSkipped(1, "binary")
        assert r.events.next(ServerSaid).message == AgentResponse("here", 1)


def test_invalid_utf8_is_skipped():
    """Also in the middle of a message."""
    with rig() as r:
        peer = r.open()
        peer.frame(TEXT, b'{"type": "\xc2"}')
        peer.say(ALIVE)
        assert r.events.next(WireSkipped).reason == "bad_utf8"
        assert r.events.next(ServerSaid).message == AgentResponse("here", 1)


@pytest.mark.parametrize(("pieces", "memory"), [(1, 1), (5, 40)])
def test_twenty_megabytes_of_text_are_thrown_away(pieces: int, memory: int):
    """In one frame, which costs no memory, or in fragments, which are let go when they have added up."""
    with rig() as r:
        peer = r.open()
        piece = bytes(20 * MIB // pieces)
        frames = [frame(CONT if i else TEXT, piece, fin=i == pieces - 1) for i in range(pieces)]
        tracemalloc.start()
        for data in frames:
            peer.sock.sendall(data)
        assert r.events.next(WireSkipped) == WireSkipped(1, "too_large")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < memory * MIB
        peer.say(ALIVE)
        assert r.events.next(ServerSaid).message == AgentResponse("here", 1)


def test_a_message_of_fragments_is_whole():
    """Fragments are put together, with control frames between them."""
    with rig() as r:
        peer = r.open()
        text = json.dumps(ALIVE).encode()
        peer.frame(TEXT, text[:9], fin=False)
        peer.frame(PING, b"x")
        peer.frame(CONT, b"", fin=False)
        peer.frame(CONT, text[9:])
        assert peer.read_frame() == (PONG, b"x")
        assert r.events.next(ServerSaid).message == AgentResponse("here", 1)


def test_a_message_byte_by_byte_is_whole():
    """However the network cuts it."""
    with rig() as r:
        peer = r.open()
        for byte in frame(TEXT, json.dumps(ALIVE).encode()):
            peer.sock.sendall(bytes([byte]))
        assert r.events.next(ServerSaid).message == AgentResponse("here", 1)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (frame(TEXT, b"{}", masked=True), 1002),
        (frame(TEXT, b"{}", rsv=4), 1002),
        (frame(3, b""), 1002),
        (frame(CONT, b""), 1002),
        (frame(TEXT, b"", fin=False) + frame(TEXT, b""), 1002),
        (frame(PING, b"", fin=False), 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1006)), 1002),
        (b"\x81\x7f" + struct.pack("!Q", 2**40), 1009),
        (b"\x81\x7f" + struct.pack("!Q", 2**63), 1009),
        (b"\x81\x7f" + struct.pack("!Q", 64 * MIB + 1), 1009),
    ],
)
def test_an_illegal_frame_ends_the_connection(raw: bytes, code: int):
    """It is refused on its header, before any payload is read, and the peer is told by the close code."""
    with rig() as r:
        peer = r.open()
        peer.sock.sendall(raw)
        end = r.end()
        assert (end.kind, end.code) == (Kind.PROTOCOL, code)
        assert peer.read_close() == code


def test_a_flood_of_pings_that_is_never_read_ends_the_connection():
    """The answers that wait are bounded."""
    with rig() as r:
        peer = r.open()
        peer.sock.settimeout(None)
        with contextlib.suppress(OSError):  # until the link hangs up
            while True:
                peer.sock.sendall(frame(PING, bytes(125)) * 100)
        assert r.end() == End(Kind.TIMEOUT, reason="stalled")


def test_agent_audio_waits_in_the_ring():
    """Sound is converted from the negotiated format, held under a new handle, and announced with its length."""
    with rig() as r:
        peer = r.open(say=metadata(agent="ulaw_8000"))
        peer.say(_audio(b"\xff" * 160, event_id=7))
        heard = r.events.next(AgentAudio)
        assert (heard.event_id, heard.ms, heard.is_final) == (7, 20.0, False)
        r.playback.play(heard.handle)
        chunk = r.playback.take(r.playback.generation)
        assert chunk is not None
        assert (chunk.rate, chunk.pcm) == (8000, bytes(320))
        peer.say(_audio(b"", event_id=7, is_final=True))
        last = r.events.next(AgentAudio)
        assert (last.handle, last.ms, last.is_final) == (heard.handle + 1, 0.0, True)


def test_audio_for_which_there_is_no_room_is_reported():
    """A ring of 10 minutes is full some day; the socket is read all the same."""
    with rig() as r:
        peer = r.open(say=metadata(agent="pcm_8000"))
        peer.say(_audio(bytes(16000 * 500)))
        peer.say(_audio(bytes(16000 * 200)))
        assert r.events.next(AgentAudio).ms == 500_000
        assert r.events.next(WireSkipped) == WireSkipped(1, "ring_full", "audio")


def test_audio_before_the_metadata_is_skipped():
    """Its format is not known yet."""
    with rig() as r:
        peer = r.open(say=None)
        peer.say(_audio(bytes(4)))
        assert r.events.next(WireSkipped) == WireSkipped(1, "before_metadata", "audio")


def test_a_type_that_we_do_not_know_is_handed_on():
    """Observers count it."""
    with rig() as r:
        peer = r.open()
        peer.say({"type": "from_the_future"})
        assert r.events.next(ServerSaid).message == Unknown("from_the_future")


def test_a_ping_is_answered_and_reported():
    """The pong carries the ping's own id."""
    with rig() as r:
        peer = r.open()
        peer.say({"type": "ping", "ping_event": {"event_id": 41, "ping_ms": 12}})
        assert peer.read() == {"type": "pong", "event_id": 41}
        assert r.events.next(ServerSaid).message == Ping(41, 12)


def test_random_bytes_end_the_connection_and_nothing_else():
    """Whatever comes: an end, and no failure of the thread (which `rig` asserts)."""
    with rig() as r:
        for seed in range(1, 31):
            peer = r.open(seed)
            with contextlib.suppress(OSError):  # the link may hang up first
                peer.sock.sendall(random.Random(seed).randbytes(4096))
            peer.sock.close()
            assert r.end(seed).kind in (Kind.PROTOCOL, Kind.NETWORK, Kind.CLOSE), seed
