"""When a connection counts as dead."""

from __future__ import annotations

import pytest
from link_peer import PING, PONG, metadata, rig

from device_agent.core.ending import End, Kind
from device_agent.core.events import ServerSaid
from device_agent.link.endings import Ended
from device_agent.link.liveness import ACK_S, METADATA_S, PONG_S, QUEUE_S, SILENCE_S, STALL_S, TCP_INFO, Liveness
from device_agent.protocol.messages import Metadata, Ping, QueueStatus

WELCOME = Metadata("conv_1", "pcm_16000", "pcm_16000")


def _reason(call, *arguments) -> str:
    with pytest.raises(Ended) as caught:
        call(*arguments)
    assert caught.value.end.kind is Kind.TIMEOUT
    return caught.value.end.reason


def test_metadata_must_come_within_five_seconds():
    """Any other message does not count."""
    live = Liveness(100.0)
    live.said(Ping(1), 101.0)
    live.check(100.0 + METADATA_S - 0.1)
    assert _reason(live.check, 100.0 + METADATA_S) == "metadata"


def test_after_the_metadata_nothing_is_expected():
    """The conversation may last."""
    live = Liveness(0.0)
    live.said(WELCOME, 1.0)
    live.check(1e6)


def test_a_queue_suspends_the_metadata_for_two_minutes():
    """Counted from the first `waiting`; repeating it gains no time."""
    live = Liveness(0.0)
    live.said(QueueStatus("waiting"), 4.0)
    live.said(QueueStatus("waiting"), 60.0)
    live.check(4.0 + QUEUE_S - 1)
    assert _reason(live.check, 4.0 + QUEUE_S) == "queue"


def test_admission_starts_the_metadata_deadline_again():
    """Held before the metadata."""
    live = Liveness(0.0)
    live.said(QueueStatus("waiting"), 1.0)
    live.said(QueueStatus("admitted"), 50.0)
    live.check(50.0 + METADATA_S - 0.1)
    assert _reason(live.check, 50.0 + METADATA_S) == "metadata"


def test_admission_after_the_metadata_ends_the_wait():
    """Held behind the metadata: nothing more is expected."""
    live = Liveness(0.0)
    live.said(WELCOME, 0.5)
    live.said(QueueStatus("waiting"), 1.0)
    live.said(QueueStatus("admitted"), 50.0)
    live.check(1e6)


def test_silence_asks_for_one_ping_and_then_ends():
    """10 s without a byte, one WebSocket ping, 3 s more."""
    live = Liveness(0.0)
    assert not live.received(7, 1.0)
    assert not live.received(7, 1.0 + SILENCE_S - 0.1)
    assert live.received(7, 1.0 + SILENCE_S)
    assert not live.received(7, 1.1 + SILENCE_S)
    assert _reason(live.received, 7, 1.0 + SILENCE_S + PONG_S) == "liveness"


def test_any_byte_is_a_sign_of_life():
    """Also after the ping."""
    live = Liveness(0.0)
    live.received(7, 1.0)
    assert live.received(7, 1.0 + SILENCE_S)
    assert not live.received(9, 2.0 + SILENCE_S)
    assert not live.received(9, 1.9 + 2 * SILENCE_S)


def _info(unacked: int, silent_s: float) -> bytes:
    return TCP_INFO.pack(unacked, int(silent_s * 1000))


def test_data_that_nobody_acknowledges_for_five_seconds_ends_it():
    """An acknowledgement that is long ago means nothing until data has waited for one as long."""
    live = Liveness(0.0)
    live.info(_info(3, 600.0), 100.0)
    live.info(_info(3, 600.0 + ACK_S - 0.1), 100.0 + ACK_S - 0.1)
    assert _reason(live.info, _info(3, 600.0 + ACK_S), 100.0 + ACK_S) == "ack"


def test_an_acknowledgement_is_a_sign_of_life():
    """Of older data as well as of all; and where the kernel tells nothing, nothing is concluded."""
    live = Liveness(0.0)
    live.info(_info(3, 1.0), 100.0)
    live.info(_info(3, 0.2), 104.0)
    live.info(_info(3, 4.2), 108.0)
    live.info(_info(0, 9.0), 113.0)
    live.info(_info(1, 99.0), 120.0)
    live.info(b"", 200.0)


def test_information_is_read_once_a_second():
    """It costs a system call."""
    live = Liveness(0.0)
    assert not live.wants_info(0.9)
    assert live.wants_info(1.0)
    assert not live.wants_info(1.9)


def test_a_peer_that_takes_nothing_for_twelve_seconds_is_given_up():
    """It acknowledges and does not read; audio that grows old meanwhile does not start the time again."""
    live = Liveness(0.0)
    live.wrote(False, True, 10.0)
    assert live.blocked
    live.wrote(False, False, 11.0)
    live.wrote(False, True, 10.0 + STALL_S - 0.1)
    assert _reason(live.wrote, False, True, 10.0 + STALL_S) == "stalled"


def test_a_byte_taken_or_room_for_one_ends_the_stall():
    """Progress is what counts."""
    live = Liveness(0.0)
    live.wrote(False, True, 1.0)
    live.wrote(True, True, 12.0)
    live.wrote(False, True, 12.5)
    live.writable()
    live.wrote(False, False, 30.0)
    assert not live.blocked


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("passes", "reason"), [(METADATA_S, "metadata"), (QUEUE_S, "queue")])
def test_a_silent_server_is_left(passes: float, reason: str):
    """The link says so, and tells the server by a close frame."""
    clock = Clock()
    with rig(clock=clock) as r:
        peer = r.open(say=None)
        if reason == "queue":
            peer.say({"type": "queue_status", "queue_status_event": {"status": "waiting"}})
            assert r.events.next(ServerSaid).message == QueueStatus("waiting")
        clock.now = passes
        r.link.unblock()
        assert r.end() == End(Kind.TIMEOUT, reason=reason)
        assert peer.read_close() == 1001


def test_a_dead_peer_is_found_by_a_ping():
    """And one that answers it is kept."""
    clock = Clock()
    with rig(clock=clock) as r:
        peer = r.open(say=metadata())
        clock.now = 10.0
        r.link.unblock()
        assert peer.read_frame() == (PING, b"")
        peer.frame(PONG)
        peer.say({"type": "ping", "ping_event": {"event_id": 1}})
        assert peer.read() == {"type": "pong", "event_id": 1}
        clock.now = 20.5
        r.link.unblock()
        assert peer.read_frame() == (PING, b"")
        clock.now = 23.5
        r.link.unblock()
        assert r.end() == End(Kind.TIMEOUT, reason="liveness")


def test_the_heart_beats_while_connected_and_rests_while_waiting():
    """A missing network is no reason to restart anything."""
    with rig() as r:
        r.open()
        assert r.link.heart.due
        r.hang_up()
        r.open(2)
        r.hang_up(2)
        assert r.link.heart.state in ("connected", "connecting", "waiting")
