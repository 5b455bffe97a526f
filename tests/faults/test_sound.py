"""Rows that are judged by ear: one conversation of the started program, and what its loudspeaker's monitor gives."""

from __future__ import annotations

import base64
import statistics
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from bed import Server, pause, started
from link_peer import METADATA, Peer, metadata
from rig import SOUND, pcm

from device_agent.bench.virtual_audio import RATE, Microphone, Recorder, VirtualCards
from tests.analysis import WIRE_RATE, frequency, noise, sine

Keep = Callable[[int, str], None]
Room = tuple[VirtualCards, Recorder, Microphone]
WRONG_FORMAT = 1003


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    """Cards of our own: nobody else may be heard."""
    with VirtualCards() as cards, Recorder(cards) as recorder, Microphone(cards) as microphone:
        yield cards, recorder, microphone


def say(peer: Peer, samples: bytes, event_id: int) -> float:
    """Send a piece of a reply; when."""
    event = {"audio_base_64": base64.b64encode(samples).decode(), "event_id": event_id}
    peer.say({"type": "audio", "audio_event": event})
    return time.monotonic()


def test_row_29_audio_that_is_none(room: Room, figure: Keep) -> None:
    """Audio of odd length is not played, and the next is; of a format that nobody knows the connection ends, and the
    next one is heard. Sabotage: the same audio in whole samples is heard by the same ear.
    """
    cards, recorder, _ = room
    tone, server = sine(0.5, WIRE_RATE).tobytes(), Server()
    with started(cards.environ, server) as run, run.control() as client:
        peer = server.talk()
        run.has_cards(client)
        began = say(peer, tone[:-1], 29)
        pause(1.0)
        assert max(map(abs, recorder.samples(began))) < SOUND
        began = say(peer, tone, 30)
        pause(1.0)
        heard = [n for n, value in enumerate(recorder.samples(began)) if abs(value) > SOUND]
        middle = statistics.median_low(heard)
        assert abs(frequency(recorder.samples(began)[middle - RATE // 10 : middle + RATE // 10]) - 440) < 5
        peer.reset()
        peer = server.accept()
        peer.upgrade()
        peer.say(metadata(agent="mp3_44100"))
        assert closed_with(peer) == WRONG_FORMAT
        server.talk()
    figure(29, "odd: nothing sounds, the next does; unknown format: closed with 1003, heard with the next connection")


def closed_with(peer: Peer) -> int:
    opcode = 0
    while opcode != 8:
        opcode, payload = peer.read_frame()
    return int(struct.unpack("!H", payload[:2])[0])


def loudest(room: Room, *panel: str) -> tuple[float, int]:
    """Seconds until READY, and the loudest sample that the server hears of a noisy room within 1.5 s."""
    cards, _, microphone = room
    server = Server()
    began = time.monotonic()
    with started(cards.environ, server, "panel.backend=gpio", "panel.button_pin=17", *panel) as run:
        run.systemd.hears("READY=1")
        ready = run.systemd.times("READY=1")[0] - began
        peer = server.accept()
        peer.upgrade()
        peer.say(METADATA)
        microphone.say(pcm(noise(3.0, WIRE_RATE)))
        end, peak = time.monotonic() + 1.5, 0
        while time.monotonic() < end:
            sound = base64.b64decode(peer.read().get("user_audio_chunk", ""))
            peak = max(peak, *(abs(value) for (value,) in struct.iter_unpack("<h", sound)), 0)
        return ready, peak


def test_row_38_no_pins(room: Room, figure: Keep) -> None:
    """Where the mute switch cannot be read the device is ready, and muted: the server hears silence.

    Sabotage: without a switch the same room is heard.
    """
    ready, peak = loudest(room, "panel.mute_pin=27")
    figure(38, f"READY after {ready:.1f} s, loudest sample at the server {peak}")
    assert ready < 3
    assert peak == 0
    assert loudest(room)[1] > SOUND
