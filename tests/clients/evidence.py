"""What must be true of any client's conversation with the simulator, checked on what both sides hold in their hands.

Recognised words alone prove nothing: a recogniser forgives lost frames. So sound is compared sample by sample.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from operator import mul
from statistics import median
from typing import Any

from tests.analysis import WIRE_RATE, Match, likeness, nearest
from tests.benchmarks.server import Server

PIECE = WIRE_RATE // 10  # 100 ms
SILENT = 150.0  # root mean square; quieter pieces hold nothing to compare
ALIKE = 0.5  # likeness after a browser's voice processing; other words reach 0.3
JITTER = 2  # samples that two resamplers may differ


def pieces(sound: Sequence[int]) -> list[int]:
    """The starts of the 100 ms pieces of `sound` that are loud enough to be compared."""
    starts = range(0, len(sound) - PIECE + 1, PIECE)
    return [at for at in starts if _rms(sound[at : at + PIECE]) > SILENT]


def _rms(piece: Sequence[int]) -> float:
    return math.sqrt(sum(map(mul, piece, piece)) / len(piece))


def check_sound(name: str, original: array[int], arrived: array[int], after: int = 0, least: float = 0.95) -> int:
    """`original` is in `arrived`, at or behind sample `after`, whole and in one piece; returns where it begins.

    A lost, doubled or late frame moves every piece behind it away from where the first ones lie.
    """
    starts = pieces(original)
    assert starts, f"{name}: the original is silent"
    place = _locate(original, arrived, starts, after)
    bad = []
    for start in starts:
        piece = original[start : start + PIECE]
        around = range(place.offset + start - JITTER, place.offset + start + JITTER + 1)
        found = max(likeness(arrived, offset, piece) for offset in around)
        if found < least:
            bad.append(f"{found:.2f} at {1000 * start // WIRE_RATE} ms")
    assert not bad, f"{name}: {len(bad)} of {len(starts)} pieces of 100 ms did not arrive as sent: {', '.join(bad)}"
    return place.offset


def _locate(original: array[int], arrived: array[int], starts: list[int], after: int) -> Match:
    """Where `original` begins in `arrived`, judged by its first three pieces that can be compared."""
    head = original[starts[0] : starts[0] + 3 * PIECE]
    match = nearest(arrived, head, first=after)
    return Match(match.offset - starts[0], match.likeness)


def check_heard(spoken: list[array[int]], received: array[int], least: float = 0.95) -> None:
    """The server received every spoken line, in order, as it was fed to the microphone."""
    position = 0
    for number, line in enumerate(spoken, 1):
        position = check_sound(f"spoken line {number}", line, received, position, least) + len(line)


def check_heard_processed(spoken: list[array[int]], received: array[int]) -> None:
    """As `check_heard`, for a browser: its echo canceller and gain control bend the sound, its fake microphone slips.

    Of each line the stretches of 200 ms lie within 40 ms of their place, and most of them look alike.
    """
    position, size, slip = 0, 2 * PIECE, WIRE_RATE // 25
    for number, line in enumerate(spoken, 1):
        place = nearest(received, line, first=position).offset
        starts = [start for start in pieces(line) if start % size == 0 and start + size <= len(line)]
        found = [
            nearest(received, line[at : at + size], place + at - slip, place + at + slip).likeness for at in starts
        ]
        assert median(found) >= ALIKE, f"spoken line {number}: the stretches that arrived are unlike: {found}"
        position = place + len(line)


def check_turns(transcripts: list[str], responses: list[str], server: Server, turns: int) -> None:
    """The client called back with each of the server's `turns` transcripts and with each reply's text."""
    heard = [event["transcript"] for event in server.of_kind("turn")]
    said = [event["text"] for event in server.of_kind("reply")]
    assert len(heard) == turns, f"the server heard {len(heard)} turns, not {turns}: {heard}"
    assert all(heard), f"the server did not understand all turns: {heard}"
    assert transcripts == heard, f"the client was told {transcripts}, the server heard {heard}"
    assert responses == said, f"the client was told {responses}, the server said {said}"


def check_interrupted(corrections: list[tuple[str, str]], server: Server) -> dict[str, Any]:
    """One reply was cut short, and the client knows by how much; returns the server's interruption."""
    sent = server.of_kind("sent", type="interruption")
    assert len(sent) == 1, f"{len(sent)} interruptions were sent, not one"
    assert len(corrections) == 1, f"the client knows of {len(corrections)} corrections, not one"
    original, corrected = corrections[0]
    assert original.startswith(corrected) and len(corrected) < len(original), f"{original!r} became {corrected!r}"
    return sent[0]


def check_manners(server: Server) -> None:
    """The client broke no rule of the protocol, and answered pings."""
    assert not server.of_kind("violation"), server.of_kind("violation")
    assert server.of_kind("pong"), "no ping was answered"
