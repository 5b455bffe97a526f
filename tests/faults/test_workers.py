"""Rows of threads that die or hang: a tool of the test's own, within the started program, strikes at the next turn."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from bed import Run, Server, pause, started
from link_peer import Peer
from rig import SOUND, pcm

from device_agent.bench.virtual_audio import RATE, Microphone, Recorder, VirtualCards
from device_agent.control.client import NAME
from tests.analysis import WIRE_RATE, noise, sine

Keep = Callable[[int, str], None]
NOISE_S = 1.5  # this machine is shared; the bounds themselves are in the table
DIES_S, HANGS_S, RESTART_S = 1.0, 3.0, 14.0
PAUSE = " (link: with up to 1 s before it tries again)"
LOUD = 100
CHUNK_S = 0.1
STRIKER = '''
import importlib, threading
from device_agent import tool

PLACES = {
    "capture": ("device_agent.audio.capture", "Recording", "turn"),
    "playback": ("device_agent.audio.playback", "Playout", "turn"),
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


def struck(cards: VirtualCards, recorder: Recorder, tools: Path, worker: str, hang: bool) -> float:
    """Seconds until the program does again what that thread is there for; or until it has ended for a restart."""
    server = Server()
    server.listener.settimeout(RESTART_S + NOISE_S)
    with started(cards.environ, server, f"tools.files={tools}") as run, run.control() as client:
        peer = server.talk()
        run.has_cards(client)
        bed = Bed(run, server, peer, recorder)
        BEFORE.get(worker, listen_for)(bed)
        event = {"tool_name": "strike", "tool_call_id": "c", "parameters": {"worker": worker, "hang": hang}}
        peer.say({"type": "client_tool_call", "client_tool_call": event})
        began = time.monotonic()
        return AGAIN[worker](bed, began) - began


@dataclass(frozen=True)
class Bed:
    """What a strike needs: the program, both ends of its conversation, and what the loudspeaker gives."""

    run: Run
    server: Server
    peer: Peer
    recorder: Recorder


def listen_for(bed: Bed, pieces: int = 5, since: float = 0.0) -> float:
    """Read until so many pieces of the microphone's sound came in a row; when the last that was none did."""
    count, quiet = 0, since
    while count < pieces:
        said = bed.peer.read()
        if "user_audio_chunk" in said:
            samples = struct.iter_unpack("<h", base64.b64decode(said["user_audio_chunk"]))
            count = count + 1 if any(abs(value) > LOUD for (value,) in samples) else 0
            quiet = quiet if count else time.monotonic()
    return quiet


def heard_again(bed: Bed, began: float) -> float:
    """The last piece without sound before half a second of it, and after the blow, which the flight recorder notes."""
    quiet = began
    while not list(bed.run.home.glob("flight-*")):
        quiet = listen_for(bed, 1, quiet)
    return listen_for(bed, 25, quiet)


def speak(bed: Bed) -> None:
    """The agent says one tone until the conversation ends."""
    tone = base64.b64encode(sine(CHUNK_S, WIRE_RATE).tobytes()).decode()

    def say() -> None:
        with suppress(OSError):
            while True:
                bed.peer.say({"type": "audio", "audio_event": {"audio_base_64": tone, "event_id": 1}})
                pause(CHUNK_S)

    threading.Thread(target=say, daemon=True).start()
    while not sounds(bed.recorder, time.monotonic() - 0.3):
        pause(0.02)


def sounds(recorder: Recorder, since: float) -> bool:
    return any(abs(value) > SOUND for value in recorder.samples(since))


def sounds_again(bed: Bed, began: float) -> float:
    """The end of the silence that follows the blow."""
    while sounds(bed.recorder, time.monotonic() - 0.3):
        assert time.monotonic() - began < RESTART_S, "the loudspeaker never fell silent"
        pause(0.02)
    silent = time.monotonic()
    while not sounds(bed.recorder, silent):
        assert time.monotonic() - began < RESTART_S, "the loudspeaker remains silent"
        pause(0.02)
    heard = bed.recorder.samples(silent)
    return silent + next(n for n, value in enumerate(heard) if abs(value) > SOUND) / RATE


def connected_again(bed: Bed, _began: float) -> float:
    bed.server.accept()
    return time.monotonic()


def ended(bed: Bed, _began: float) -> float:
    assert bed.run.process.wait(RESTART_S + NOISE_S) == 70
    return time.monotonic()


def answered_again(bed: Bed, _began: float) -> float:
    while bed.peer.read().get("type") != "client_tool_result":
        pass
    while not (answers(bed.run.home / NAME) and answers(bed.run.home / NAME)):  # the first may be what it is struck by
        pause(0.02)
    return time.monotonic()


def answers(path: Path) -> bool:
    """Whether the control socket has a word for a stranger, soon."""
    with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
        sock.settimeout(0.3)
        sock.connect(str(path))
        sock.sendall(b"?\n")
        return bool(sock.recv(1))
    return False


BEFORE: dict[str, Callable[[Bed], object]] = {"playback": speak}
AGAIN: dict[str, Callable[[Bed, float], float]] = {
    "capture": heard_again, "playback": sounds_again, "link": connected_again, "dispatcher": ended,
    "control": answered_again,
}  # fmt: skip
DEATHS = [(worker, False) for worker in AGAIN if worker != "playback"]  # two loudspeakers at once are one monitor
STRIKES = [*DEATHS, *((worker, True) for worker in AGAIN)]


@pytest.fixture(scope="module")
def strikes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, bool], Future[float]]]:
    """All at the same time, each in a program of its own; somebody makes a noise all the while."""
    tools = tmp_path_factory.mktemp("tools") / "striker.py"
    tools.write_text(STRIKER)
    with (
        VirtualCards() as cards,
        Recorder(cards) as recorder,
        Microphone(cards) as microphone,
        ThreadPoolExecutor(len(STRIKES)) as pool,
    ):
        sound = pcm(noise(5.0, WIRE_RATE))
        for _ in range(12):
            microphone.say(sound)
        yield {strike: pool.submit(struck, cards, recorder, tools, *strike) for strike in STRIKES}


def test_row_54_a_thread_dies(strikes: dict[tuple[str, bool], Future[float]], figure: Keep) -> None:
    """Microphone, link and control socket are back within 1 s; without a dispatcher the program ends for a restart.

    Sabotage: `test_row_55_a_thread_hangs` sees what does not come back as soon.
    """
    took = {worker: strikes[worker, False].result(60) for worker, _ in DEATHS}
    figure(54, ", ".join(f"{worker} {seconds:.1f} s" for worker, seconds in took.items()))
    assert took.pop("dispatcher") < RESTART_S
    assert max(took.values()) < DIES_S + NOISE_S


def test_row_55_a_thread_hangs(strikes: dict[tuple[str, bool], Future[float]], figure: Keep) -> None:
    """Microphone, loudspeaker, link and control socket are replaced; a dispatcher that hangs is a restart.

    Sabotage: it is seen that the same threads, where they die, are back much sooner.
    """
    took = {worker: strikes[worker, True].result(60) for worker in AGAIN}
    figure(55, ", ".join(f"{worker} {seconds:.1f} s" for worker, seconds in took.items()) + PAUSE)
    assert took.pop("dispatcher") < RESTART_S + NOISE_S
    assert max(took.values()) < HANGS_S + NOISE_S
    assert all(took[worker] > 2 * strikes[worker, False].result(60) for worker in ("capture", "control"))
