"""The connection's bad days: slow to open, lost, stalled, hostile. The server and the loudspeaker tell."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import SILENT_AGENT, TALK, Call, call, displaced, pcm
from websocket import create_connection

from device_agent.bench.demo import Simulator
from device_agent.bench.virtual_audio import RATE, VirtualCards
from device_agent.errors import DeviceAgentError
from device_agent.simulator.faults import MALFORMED
from tests.analysis import WIRE_RATE, frequency, noise, onset, resampled


def test_words_spoken_while_connecting_come_first_and_whole(cards: VirtualCards) -> None:
    """Queued for 2 s, the device keeps what it hears, sends nothing, and then all of it in order, live audio behind.

    Sabotage: the same comparison with one frame of 20 ms left out, and with one that is 40 ms late, is red.
    """
    words = noise(3.5, WIRE_RATE)
    with call(cards, *TALK, options=(*SILENT_AGENT, "--queue-seconds", "2.5")) as run:
        run.says("microphone: ", timeout=20)
        spoken = len(run.room.samples())
        run.microphone.say(pcm(words))
        admitted = run.simulator.wait("sent", type="queue_status", status="admitted")["t"]
        run.pause(3.5)
        assert run.violations() == []
        assert run.simulator.of_kind("audio")[0]["t"] >= admitted
        heard, said = run.received(), resampled(run.room.samples()[spoken:], RATE, WIRE_RATE)
        first, begin = onset(heard), onset(said)
        assert first is not None and begin is not None
        assert run.excused(displaced(heard, said, WIRE_RATE, around=first - begin))
        cut = first + WIRE_RATE
        assert displaced(heard[:cut] + heard[cut + 320 :], said, WIRE_RATE, around=first - begin)
        assert displaced(heard[:cut] + noise(0.04, WIRE_RATE) + heard[cut:], said, WIRE_RATE, around=first - begin)


def test_a_connection_lost_in_a_reply_is_taken_up_again(cards: VirtualCards) -> None:
    """Cut without a close frame: the old reply falls silent, and within 2 s a second conversation is open.

    Sabotage: where the connection is not cut, the same reply sounds on and there is no second conversation.
    """
    with call(cards, *TALK, options=("--first-message", "", "--pace", "at-once")) as run:
        run.ready()
        run.audible(run.simulator.order("audio", ms=6000))
        kept = run.simulator.order("none")
        run.pause(0.5)
        assert run.sounded_last(kept) - kept > 0.3
        assert not run.simulator.of_kind("connected", connection=2)
        dropped = run.simulator.order("drop")
        again = run.simulator.wait("sent", since=dropped, type="conversation_initiation_metadata", connection=2)
        print(f"in conversation again after {again['t'] - dropped:.2f} s")
        assert again["t"] - dropped < 2.0
        run.simulator.wait("audio", connection=2)
        run.pause(0.5)
        assert run.sounded_last(dropped) - dropped < 0.3
        asked = run.simulator.order("audio", ms=500, hz=1000)
        began = run.audible(asked)
        run.pause(0.6)
        assert abs(frequency(run.speaker.samples(began + 0.05, began + 0.4)) - 1000) < 5


def burst(simulator: Simulator, resumed: float) -> float:
    """Seconds of audio that came in the first 0.3 s after a stall."""
    chunks = simulator.of_kind("audio", since=resumed)
    return float(sum(event["n"] for event in chunks if event["t"] < resumed + 0.3)) / WIRE_RATE


@pytest.mark.slow
def test_a_server_that_stalls_gets_no_stale_audio(cards: VirtualCards) -> None:
    """8 s without reading: the connection survives, at most 1 s of old audio arrives, pings are answered again."""
    with call(cards, *TALK, options=(*SILENT_AGENT, "--receive-buffer", "8192")) as run:
        run.ready()
        run.pause(1.0)
        run.simulator.order("stall", seconds=8)
        resumed = run.simulator.wait("resumed", timeout=15)["t"]
        run.pause(4.0)
        stale = burst(run.simulator, resumed)
        print(f"in the 0.3 s after the stall {stale:.2f} s of audio came")
        assert stale < 1.0 + 0.3
        chunks = run.simulator.of_kind("audio", since=resumed)
        assert sum(event["n"] for event in chunks) / WIRE_RATE > 3.5
        assert run.simulator.of_kind("pong", since=resumed)
        assert len(run.simulator.of_kind("connected")) == 1


@contextlib.contextmanager
def careless(url: str) -> Iterator[None]:
    """A client that sends 20 ms of audio every 20 ms, whatever the server does."""
    chunk = json.dumps({"user_audio_chunk": base64.b64encode(bytes(WIRE_RATE // 50 * 2)).decode()})
    connection, over = create_connection(f"{url}/v1/convai/conversation?agent_id=a"), threading.Event()

    def talk() -> None:
        connection.send(json.dumps({"type": "conversation_initiation_client_data"}))
        while not over.wait(0.02):
            connection.send(chunk)

    thread = threading.Thread(target=talk)
    thread.start()
    yield
    over.set()
    thread.join()
    connection.close()


def test_a_client_that_sends_on_is_seen_as_stale(tmp_path: Path) -> None:
    """Sabotage: the same measurement finds all of the 3 s that a careless client sends to a stalled server."""
    with Simulator(tmp_path / "heard.wav", *SILENT_AGENT) as simulator, careless(simulator.url):
        simulator.wait("audio")
        simulator.order("stall", seconds=3)
        resumed = simulator.wait("resumed")["t"]
        threading.Event().wait(0.4)
        assert burst(simulator, resumed) > 1.0 + 0.3


def heard_on(run: Call, orders: int) -> None:
    """Order that many short replies, each behind a hostile message; each must be heard."""
    for number, name in enumerate(itertools.islice(MALFORMED, orders)):
        asked = run.simulator.order("audio", ms=120, hz=1000)
        run.simulator.wait("sent", since=asked, type="malformed", name=name)
        began = run.audible(asked, timeout=4.0)
        run.silent(0.15)
        assert run.sounded_last(began) - began > 0.1, f"after {name}"
        assert len(run.simulator.of_kind("reply")) == number + 1


def test_malformed_messages_are_survived(cards: VirtualCards) -> None:
    """Each of the simulator's hostile messages, 20 MB of text among them, is skipped, and the next reply is heard."""
    options = (*SILENT_AGENT, "--malformed", "all", "--pace", "at-once")
    with call(cards, *TALK, options=options) as run:
        run.ready()
        heard_on(run, len(MALFORMED))
        assert len(run.simulator.of_kind("connected")) == 1
        assert run.violations() == []


def test_a_device_that_stops_at_a_hostile_message_is_missed(cards: VirtualCards) -> None:
    """Sabotage: where the process stands still from then on, the same measurement hears nothing and fails."""
    with call(cards, *TALK, options=(*SILENT_AGENT, "--malformed", "all", "--pace", "at-once")) as run:
        run.ready()
        run.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(DeviceAgentError, match="the loudspeaker sounds"):
                heard_on(run, 1)
        finally:
            run.process.send_signal(signal.SIGCONT)
