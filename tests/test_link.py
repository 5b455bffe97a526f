"""The link thread over real sockets."""

from __future__ import annotations

from link_peer import rig

from device_agent.core.commands import Disconnect, Send, SendFrames, SendSilence
from device_agent.core.ending import End, Kind
from device_agent.protocol.messages import Initiation


def test_a_conversation_opens_speaks_and_closes():
    """Initiation goes out on open, audio after the metadata, and a disconnect sends a close frame."""
    with rig() as r:
        peer = r.open()
        r.link.send(Send(1, Initiation()))
        assert peer.read() == {"type": "conversation_initiation_client_data"}
        seq = r.capture.write(bytes(range(256)) * 2 + bytes(128), r.latch.generation)
        r.link.send_frames(SendFrames(1, seq, seq))
        r.link.rouse()
        assert peer.read_audio() == bytes(range(256)) * 2 + bytes(128)
        r.link.send_silence(SendSilence(1, 2))
        r.link.rouse()
        assert peer.read_audio() == bytes(1280)
        r.link.disconnect(Disconnect(1))
        assert peer.read_close() == 1000
        assert r.end() == End(Kind.LOCAL)
