"""What goes out: the mute choke point, the age limit, the negotiated format, and who goes first."""

from __future__ import annotations

import base64
import json
import socket

import pytest
from link_peer import TEXT, Peer, Rig, metadata, rig

from device_agent.core.commands import Send, SendFrames, SendSilence
from device_agent.core.ending import End, Kind
from device_agent.core.events import ServerSaid, UplinkDropped
from device_agent.link.outbox import LIMIT, Outbox
from device_agent.link.uplink import MAX_AGE_S, Uplink
from device_agent.protocol.formats import FORMATS, parse
from device_agent.protocol.messages import ClientToolResult, ContextualUpdate, Initiation, Ping, UserMessage
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import FRAME_BYTES, CaptureRing
from device_agent.runtime.wakeup import Wakeup

VOICE = b"\x01\x02" * 320
SILENCE = bytes(FRAME_BYTES)


class Desk:
    """An uplink without a network."""

    def __init__(self, wire_format: str = "pcm_16000") -> None:
        self.outbox = Outbox(Wakeup())
        self.ring = CaptureRing()
        self.latch = MuteLatch()
        self.uplink = Uplink(1, self.outbox, self.ring, self.latch)
        self.uplink.use(parse(wire_format))

    def capture(self, frames: int = 1, now: float = 0.0, conn: int = 1) -> None:
        for _ in range(frames):
            seq = self.ring.write(VOICE, self.latch.generation)
            self.outbox.put_audio(SendFrames(conn, seq, seq), now)

    def taken(self) -> bytes:
        message = self.uplink.next_message()
        return base64.b64decode(json.loads(message)["user_audio_chunk"]) if message else b""


def test_frames_go_out_as_they_were_captured():
    """At the wire's own rate nothing touches the samples."""
    desk = Desk()
    desk.capture(2)
    assert desk.taken() == VOICE * 2
    assert desk.taken() == b""


def test_at_most_100_ms_are_joined():
    """What is due together goes out together, up to five frames; silence and sound alike."""
    desk = Desk()
    desk.outbox.put_audio(SendSilence(1, 4), 0.0)
    desk.capture(3)
    assert desk.taken() == SILENCE * 4 + VOICE
    assert desk.taken() == VOICE * 2


def test_what_was_said_while_connecting_is_never_too_old():
    """A network that takes it slowly gets it late; live audio of the same age is given up."""
    desk = Desk()
    seq = desk.ring.write(VOICE, desk.latch.generation)
    desk.outbox.put_audio(SendFrames(1, seq, seq, kept=True), 0.0)
    desk.capture(2, now=0.0)
    desk.uplink.drop_stale(3.0)
    assert desk.taken() == VOICE * 3
    desk.capture(2, now=0.0)
    desk.uplink.drop_stale(3.0)
    assert (desk.taken(), desk.uplink.take_dropped()) == (b"", 2)


def test_a_frame_captured_before_a_mute_never_leaves_after_it():
    """Not while muted and not when the mute is over: it was queued, and becomes silence at the last moment."""
    desk = Desk()
    desk.capture(7)
    assert desk.taken() == VOICE * 5
    desk.latch.close()
    assert desk.taken() == SILENCE * 2
    desk.capture(1)
    desk.latch.open()
    desk.capture(1)
    assert desk.taken() == SILENCE + VOICE


def test_a_wiped_frame_becomes_silence():
    """The order to send it stays, its audio is gone; the server's clock runs on."""
    desk = Desk()
    desk.capture(2)
    desk.ring.wipe()
    assert desk.taken() == SILENCE * 2


def test_audio_is_given_up_after_half_a_second():
    """What became due in the last 500 ms is never given up; what is older is, and is counted once."""
    desk = Desk()
    desk.capture(3, now=10.0)
    desk.capture(2, now=10.1)
    desk.uplink.drop_stale(10.0 + MAX_AGE_S)
    assert desk.uplink.take_dropped() == 0
    desk.uplink.drop_stale(10.05 + MAX_AGE_S)
    assert desk.uplink.take_dropped() == 3
    assert desk.uplink.take_dropped() == 0
    assert desk.taken() == VOICE * 2


def test_audio_for_another_connection_is_given_up():
    """It was meant for somebody who is gone."""
    desk = Desk()
    desk.capture(1, conn=0)
    desk.capture(1)
    desk.uplink.drop_stale(0.0)
    assert desk.taken() == VOICE


def test_the_queue_of_audio_is_bounded():
    """Beyond 1,024 orders audio is counted as given up."""
    desk = Desk()
    desk.capture(LIMIT + 3)
    assert len(desk.outbox.audio) == LIMIT
    assert desk.uplink.take_dropped() == 3


@pytest.mark.parametrize("name", FORMATS)
def test_every_wire_format_gets_its_own_rate_and_silence(name: str):
    """Silence passes the resampler too; a second of frames is a second on the wire, but for the filter's 1.5 ms."""
    desk = Desk(name)
    wire = FORMATS[name]
    desk.outbox.put_audio(SendSilence(1, 50), 0.0)
    sent = b"".join(iter(desk.taken, b""))
    assert wire.duration_ms(sent) == pytest.approx(1000, abs=6)
    assert sent == wire.silence(1000)[: len(sent)]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _small_window(r: Rig) -> None:
    """Let the peer's kernel hold little, so that a peer that does not read is soon felt."""
    r.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def _fill(r: Rig, peer: Peer) -> None:
    """Give the link more audio than the kernels hold; it has turned 200 times, each time writing all it could.

    So many, because the peer's kernel tells of its last bit of room with a delayed acknowledgement, 40 ms later.
    """
    for _ in range(200):
        r.link.send_silence(SendSilence(1, 5))
        r.link.rouse()
    for event_id in range(1000, 1200):
        peer.say({"type": "ping", "ping_event": {"event_id": event_id}})
        while r.events.next(ServerSaid).message != Ping(event_id):
            pass


def test_after_a_stall_old_audio_is_dropped_and_counted():
    """A peer that takes nothing for a while finds what the kernels held, and then what is new; the rest is counted."""
    clock = Clock()
    with rig(clock=clock) as r:
        _small_window(r)
        peer = r.open()
        _fill(r, peer)
        clock.now = 8.0
        seq = r.capture.write(VOICE, r.latch.generation)
        r.link.send_frames(SendFrames(1, seq, seq))
        r.link.rouse()
        old = 0
        while True:
            message = peer.read()
            audio = base64.b64decode(message.get("user_audio_chunk", ""))
            if audio == VOICE:
                break
            old += len(audio) // FRAME_BYTES
        assert r.events.next(UplinkDropped) == UplinkDropped(1, 1000 - old)
        assert old <= 50


def test_pong_goes_before_tool_result_before_control_before_audio():
    """With everything waiting at once behind a peer that does not read."""
    with rig(clock=Clock()) as r:
        _small_window(r)
        peer = r.open()
        _fill(r, peer)
        r.link.send(Send(1, UserMessage("hello")))
        r.link.send(Send(1, ContextualUpdate("facts")))
        r.link.send(Send(1, ClientToolResult("call_1", "done")))
        peer.say({"type": "ping", "ping_event": {"event_id": 99}})
        while r.events.next(ServerSaid).message != Ping(99):
            pass
        order = []
        while "contextual_update" not in order:
            message = peer.read()
            order.append(
                f"pong {message['event_id']}" if message.get("type") == "pong" else message.get("type", "audio")
            )
        assert order[-4:] == ["pong 99", "client_tool_result", "user_message", "contextual_update"]
        assert peer.read_audio() == SILENCE * 5


def test_a_frame_muted_while_it_waits_behind_a_slow_peer_is_silent():
    """Audio is taken from the ring only when the socket has room, so the mute still reaches it."""
    with rig(clock=Clock()) as r:
        _small_window(r)
        peer = r.open()
        _fill(r, peer)
        seq = r.capture.write(VOICE, r.latch.generation)
        r.link.send_frames(SendFrames(1, seq, seq))
        r.link.rouse()
        r.link.send_silence(SendSilence(1, 1))
        r.link.rouse()
        r.latch.close()
        heard = bytearray()
        while len(heard) < 1002 * FRAME_BYTES:
            opcode, payload = peer.read_frame()
            assert opcode == TEXT
            heard += base64.b64decode(json.loads(payload).get("user_audio_chunk", ""))
        assert not any(heard)


def test_more_control_than_the_bound_ends_the_connection():
    """Somebody sends without end, or the peer reads nothing: a fault either way."""
    with rig() as r:
        _small_window(r)
        r.open()
        while r.link.heart.state != "waiting":
            r.link.send(Send(1, UserMessage("x" * 4096)))
        assert r.end() == End(Kind.TIMEOUT, reason="stalled")


def test_a_number_that_json_cannot_carry_is_a_setup_end():
    """TOML knows nan; the reason says where to look."""
    with rig() as r:
        r.open()
        r.link.send(Send(1, Initiation(dynamic_variables={"x": float("nan")})))
        end = r.end()
        assert end.kind is Kind.SETUP
        assert "[agent]" in end.reason


def test_audio_before_the_metadata_is_given_up():
    """There is no format to send it in; the core knows better than to ask for it."""
    with rig() as r:
        peer = r.open(say=None)
        r.link.send_silence(SendSilence(1, 3))
        r.link.rouse()
        assert r.events.next(UplinkDropped) == UplinkDropped(1, 3)
        peer.say(metadata())
        r.events.next(ServerSaid)
        r.link.send_silence(SendSilence(1, 1))
        r.link.rouse()
        assert peer.read_audio() == SILENCE
