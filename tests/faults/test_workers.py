"""Rows of threads that die or hang: a tool of the test's own, within the started program, strikes at the next turn."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from bed import Run, Server, started
from link_peer import Peer
from rig import pcm

from device_agent.bench.virtual_audio import Microphone, VirtualCards
from device_agent.errors import ServiceError
from tests.analysis import noise

Keep = Callable[[int, str], None]
NOISE_S = 1.5  # this machine is shared; the bounds themselves are in the table
DIES_S, HANGS_S, RESTART_S = 1.0, 8.0, 14.0
LOUD = 100
STRIKER = '''
import importlib, threading
from device_agent import tool

PLACES = {
    "capture": ("device_agent.audio.capture", "Recording", "turn"),
    "link": ("device_agent.link.session", "Session", "_turn"),
    "dispatcher": ("device_agent.core.conversation", "Conversation", "handle"),
    "control": ("device_agent.control.server", "Control", "_tend"),
}


@tool
def strike(worker: str, hang: bool) -> str:
    """Let the thread die, or stand still, once."""
    module, owner, name = PLACES[worker]
    place = getattr(importlib.import_module(module), owner)
    honest = getattr(place, name)

    def struck(*args):
        setattr(place, name, honest)
        if hang:
            threading.Event().wait()
        raise RuntimeError("struck")

    setattr(place, name, struck)
    return "struck"
'''


def struck(cards: VirtualCards, tools: Path, worker: str, hang: bool) -> float:
    """Seconds until the program does again what that thread is there for; or until it has ended for a restart."""
    server = Server()
    server.listener.settimeout(RESTART_S + NOISE_S)
    with started(cards.environ, server, f"tools.files={tools}") as run, run.control() as client:
        peer = server.talk()
        run.has_cards(client)
        listen_for(peer)
        event = {"tool_name": "strike", "tool_call_id": "c", "parameters": {"worker": worker, "hang": hang}}
        peer.say({"type": "client_tool_call", "client_tool_call": event})
        began = time.monotonic()
        AGAIN[worker](run, server, peer)
        return time.monotonic() - began


def listen_for(peer: Peer, pieces: int = 5) -> None:
    """Read until so many pieces of the microphone's sound came in a row."""
    count = 0
    while count < pieces:
        said = peer.read()
        if "user_audio_chunk" in said:
            samples = struct.iter_unpack("<h", base64.b64decode(said["user_audio_chunk"]))
            count = count + 1 if any(abs(value) > LOUD for (value,) in samples) else 0


def heard_again(run: Run, _server: Server, peer: Peer) -> None:
    """Half a second of sound in a row after the blow, which the flight recorder notes: more than was under way then."""
    while not list(run.home.glob("flight-*")):
        peer.read()
    listen_for(peer, pieces=25)


def connected_again(_run: Run, server: Server, _peer: Peer) -> None:
    server.accept()


def ended(run: Run, _server: Server, _peer: Peer) -> None:
    assert run.process.wait(RESTART_S + NOISE_S) == 70


def answered_again(run: Run, _server: Server, peer: Peer) -> None:
    while peer.read().get("type") != "client_tool_result":
        pass
    while True:
        with suppress(ServiceError), run.control() as client:
            client.ask("status")
            client.ask("status")  # the first may be what it is struck by
            return


AGAIN: dict[str, Callable[[Run, Server, Peer], None]] = {
    "capture": heard_again, "link": connected_again, "dispatcher": ended, "control": answered_again,
}  # fmt: skip
STRIKES = [(worker, hang) for worker in AGAIN for hang in (False, True) if (worker, hang) != ("control", True)]


@pytest.fixture(scope="module")
def strikes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, bool], Future[float]]]:
    """All at the same time, each in a program of its own; somebody makes a noise all the while."""
    tools = tmp_path_factory.mktemp("tools") / "striker.py"
    tools.write_text(STRIKER)
    with VirtualCards() as cards, Microphone(cards) as microphone, ThreadPoolExecutor(len(STRIKES)) as pool:
        sound = pcm(noise(5.0, 16_000))
        for _ in range(12):
            microphone.say(sound)
        yield {strike: pool.submit(struck, cards, tools, *strike) for strike in STRIKES}


def test_row_54_a_thread_dies(strikes: dict[tuple[str, bool], Future[float]], figure: Keep) -> None:
    """Microphone, link and control socket are back within 1 s; without a dispatcher the program ends for a restart.

    Sabotage: `test_row_55_a_thread_hangs` sees what does not come back as soon.
    """
    took = {worker: strikes[worker, False].result(60) for worker in AGAIN}
    figure(54, ", ".join(f"{worker} {seconds:.1f} s" for worker, seconds in took.items()))
    assert took.pop("dispatcher") < RESTART_S
    assert max(took.values()) < DIES_S + NOISE_S


def test_row_55_a_thread_hangs(strikes: dict[tuple[str, bool], Future[float]], figure: Keep) -> None:
    """Microphone and link are replaced; a dispatcher that hangs is a restart within 14 s.

    Sabotage: it is seen that the same threads, where they die, are back much sooner.
    """
    took = {worker: strikes[worker, True].result(60) for worker, hang in STRIKES if hang}
    figure(55, ", ".join(f"{worker} {seconds:.1f} s" for worker, seconds in took.items()))
    assert took.pop("dispatcher") < RESTART_S + NOISE_S
    assert max(took.values()) < HANGS_S + NOISE_S
    assert min(took.values()) > 2 * max(strikes[worker, False].result(60) for worker in took)
