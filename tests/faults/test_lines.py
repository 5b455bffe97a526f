"""Rows of the network: a line that is slow and loses packets."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bed import Server, started
from link_peer import Peer, metadata
from lossy import FAR, Way, line

from device_agent.bench.authority import Authority
from device_agent.bench.virtual_audio import VirtualCards

Keep = Callable[[int, str], None]
namespaces = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="makes a network namespace")
RTT_S, LOSS, BITS = 0.3, 0.05, 100_000
SHORT_S, LONG_S = 25.0, 600.0
ULAW_RATE = 8000
NOISE_S = 2.0  # the last packet under way, and this machine
AUDIO = "AAEA" * 400  # 38 ms


def bad_line(environ: dict[str, str], seconds: float) -> tuple[int, float, Way, float]:
    """Row 5: connections in so long a conversation; audio that came of that which was due; the way up; and when a
    line that then loses everything is noticed."""
    up, down = Way(RTT_S / 2, LOSS, BITS), Way(RTT_S / 2, LOSS)
    with line(up, down) as prefix, tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        server = Server(FAR, tls=authority.server(authority.certificate("far", FAR)))
        trust = f"server.ca_file={authority.ca_file}"
        with started(environ, server, trust, scheme="wss", prefix=prefix) as run:
            peer = conversation(server)
            connections, size, told = 1, 0, 0.0
            began = time.monotonic()
            while (now := time.monotonic()) - began < seconds:
                try:
                    if now - told > 1.0:
                        told = now
                        speak(peer, int(now))
                    size += len(base64.b64decode(peer.read().get("user_audio_chunk", "")))
                except (AssertionError, OSError):
                    connections += 1
                    peer = conversation(server)
            up.loss = 1.0
            return connections, size / ULAW_RATE / seconds, up, run.hangs_up(server)


def conversation(server: Server) -> Peer:
    peer = server.accept()
    peer.upgrade()
    peer.say(metadata(user="ulaw_8000"))
    return peer


def speak(peer: Peer, number: int) -> None:
    """What a server says all the time: a ping, and a little of the agent."""
    peer.say({"type": "ping", "ping_event": {"event_id": number}})
    peer.say({"type": "audio", "audio_event": {"audio_base_64": AUDIO, "event_id": 1}})


@namespaces
@pytest.mark.parametrize("seconds", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.slow)])
def test_row_5_a_bad_line(cards: VirtualCards, figure: Keep, seconds: float) -> None:
    """300 ms there and back, 5 % of all packets lost, 100 kbit/s up: the conversation is not disconnected.

    Sabotage: when all packets are lost, that is seen as an end.
    """
    connections, share, up, noticed = bad_line(cards.environ, seconds)
    lost = 100 * up.lost / (up.lost + up.passed)
    figure(5, f"{connections - 1} disconnects in {seconds:.0f} s; audio {100 * share:.0f} %, packets lost {lost:.0f} %")
    assert connections == 1
    assert share > 0.5
    assert noticed < 13 + NOISE_S
