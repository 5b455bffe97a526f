"""The demo's conversation, heard from outside: what the server received, what the loudspeaker played."""

from __future__ import annotations

import array
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from rig import TALK, Call, Trail, call, displaced, follow, loud
from steady import steadily

from device_agent.bench.virtual_audio import VirtualCards
from device_agent.bench.visitor import SCRIPT, Visitor
from device_agent.simulator.voice import flite
from tests.analysis import RATE, WIRE_RATE, Samples, resampled


def visit(cards: VirtualCards) -> Iterator[Call]:
    with call(cards, *TALK, options=()) as run:
        Visitor(run.microphone, run.speaker, run.lines.append, gone=lambda: False).converse(SCRIPT)
        run.simulator.wait("closed", timeout=10)
        run.silent(0.7)
        yield run


@pytest.fixture(scope="module")
def talk(cards: VirtualCards) -> Iterator[Call]:
    """The whole script, held once; again where this machine tore a hole into the sound."""
    yield from steadily(lambda: visit(cards), check_whole)


@dataclass(frozen=True)
class Reply:
    """What the server said, and the part of the loudspeaker's recording that holds it."""

    said: Samples
    heard: Samples
    cut_short: bool

    def trail(self) -> Trail:
        return follow(self.heard, self.said, WIRE_RATE, around=WIRE_RATE // 10)


@pytest.fixture(scope="module")
def replies(talk: Call) -> list[Reply]:
    return replies_of(talk)


def replies_of(talk: Call) -> list[Reply]:
    """All replies; the recording of each begins when the server began to send it."""
    found, cut_short = [], [event["event_id"] for event in talk.simulator.of_kind("interrupted")]
    for event in talk.simulator.of_kind("reply"):
        said = array.array("h", flite(event["text"]))
        until = event["t"] + len(said) / WIRE_RATE + 0.6
        heard = resampled(talk.speaker.samples(event["t"], until), RATE, WIRE_RATE)
        found.append(Reply(said, heard, event["event_id"] in cut_short))
    return found


def check_whole(talk: Call) -> None:
    """What a machine that stands still tears first."""
    check_heard(talk)
    check_played(talk, replies_of(talk))
    check_smooth(talk, replies_of(talk))


def check_heard(talk: Call) -> tuple[Samples, Samples]:
    """Every 100 ms of the visitor are at the server; what was said and what was heard."""
    audio = talk.simulator.of_kind("audio")[0]
    begin = audio["t"] - audio["n"] / WIRE_RATE
    said = resampled(talk.room.samples(begin), RATE, WIRE_RATE)
    heard = talk.received()
    assert len(loud(said, WIRE_RATE)) > 40
    assert talk.excused(displaced(heard, said, WIRE_RATE, around=0))
    return said, heard


def check_played(talk: Call, replies: list[Reply]) -> None:
    whole = [reply.trail() for reply in replies if not reply.cut_short]
    assert talk.excused([fault for trail in whole for fault in trail.faults])
    assert max(abs(trail.gain_db) for trail in whole) < 0.5


def check_smooth(talk: Call, replies: list[Reply]) -> int:
    """No step in the recording is steeper than the voice's own; the limit."""
    voice = [resampled(reply.said, WIRE_RATE, RATE) for reply in replies]
    limit = round(1.05 * max(abs(b - a) for said in voice for a, b in pairwise(said))) + 10
    assert talk.excused(clicks(talk.speaker.samples(), limit))
    return limit


def clicks(samples: Samples, limit: int) -> list[str]:
    """Where the sound makes a step of more than `limit`, in pieces of 100 ms."""
    steps = (at for at, (a, b) in enumerate(pairwise(samples)) if abs(b - a) > limit)
    return [f"click at {100 * piece} ms" for piece in sorted({10 * at // RATE for at in steps})]


def test_the_agent_understood_every_sentence(talk: Call) -> None:
    """Five turns with words, the right answers, and no violation of the protocol."""
    turns = talk.simulator.of_kind("turn")
    assert len(turns) == len(SCRIPT)
    assert all(turn["transcript"] for turn in turns), turns
    assert talk.violations() == []


def test_tools_were_answered(talk: Call) -> None:
    """Both tool calls came back without an error."""
    results = talk.simulator.of_kind("tool_result")
    assert [result["is_error"] for result in results] == [False, False]
    assert "timer" in results[0]["result"]
    assert "volume" in results[1]["result"]


def test_the_server_received_the_visitor_without_a_hole(talk: Call) -> None:
    """Every 100 ms that sounded in the room are at the server, at one constant offset.

    Sabotage: a frame of 20 ms dropped, 40 ms inserted, and a wrong rate are red.
    """
    said, heard = check_heard(talk)
    middle = loud(said, WIRE_RATE)[20][0]
    said, heard = said[: middle + WIRE_RATE], heard[: middle + WIRE_RATE]
    assert displaced(heard[:middle] + heard[middle + 320 :], said, WIRE_RATE, around=0)
    assert displaced(heard[:middle] + heard[middle - 640 :], said, WIRE_RATE, around=0)
    assert displaced(resampled(heard, 16_000, 15_900), said, WIRE_RATE, around=0)


def test_the_loudspeaker_played_every_reply_whole(talk: Call, replies: list[Reply]) -> None:
    """Each reply that nobody interrupted, the farewell after the server's close among them, has sounded without a gap.

    Its level is right within 0.5 dB. Sabotage: 20 ms less, other words, and half the level are red.
    """
    assert sum(not reply.cut_short for reply in replies) >= len(SCRIPT), talk.simulator.of_kind("reply")
    check_played(talk, replies)
    one, other = replies[0], replies[1]
    shortened = one.heard[: WIRE_RATE // 2] + one.heard[WIRE_RATE // 2 + 320 :]
    assert Reply(one.said, shortened, False).trail().faults != one.trail().faults
    assert Reply(other.said, one.heard, False).trail().faults
    weak = array.array("h", (value // 2 for value in one.heard))
    assert Reply(one.said, weak, False).trail().gain_db < -5


def test_the_interrupted_reply_was_cut(replies: list[Reply]) -> None:
    """Somebody spoke over the joke: its beginning was heard, its end was not."""
    (joke,) = (reply for reply in replies if reply.cut_short)
    trail = joke.trail()
    assert any(fault.startswith("lost") for fault in trail.faults)
    assert not any(fault.startswith("lost at 0 ms") for fault in trail.faults)


def test_no_reply_begins_or_ends_with_a_click(talk: Call, replies: list[Reply]) -> None:
    """No step in the recording is steeper than the voice itself, not even where the reply was cut off.

    Sabotage: one wrong sample is red.
    """
    limit = check_smooth(talk, replies)
    heard = talk.speaker.samples()
    quiet = min(range(0, len(heard) - 480, 480), key=lambda at: max(map(abs, heard[at : at + 480])))
    before = clicks(heard, limit)
    heard[quiet] = 20_000
    assert len(clicks(heard, limit)) > len(before)


def test_it_ends_when_told(talk: Call) -> None:
    """After the farewell the device is idle; SIGTERM ends it with exit code 0."""
    took, code = talk.stop(signal.SIGTERM)
    assert code == 0
    assert took < 1.0
