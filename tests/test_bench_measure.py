"""The demo's figures, of recordings that were made up."""

from __future__ import annotations

import array
import math
from typing import Any

from device_agent.bench.measure import END_OF_TURN_S, measure
from device_agent.bench.virtual_audio import RATE


class Tape:
    """A recording whose sample n sounded at n / 48000."""

    def __init__(self, seconds: float) -> None:
        self.data = array.array("h", bytes(2 * round(seconds * RATE)))

    def tone(self, begin: float, seconds: float, peak: int = 8192) -> None:
        for n in range(round(seconds * RATE)):
            self.data[round(begin * RATE) + n] = peak if n // 24 % 2 else -peak

    def samples(self, since: float = 0.0, until: float = math.inf) -> array.array[int]:
        return self.data[round(since * RATE) : len(self.data) if until == math.inf else round(until * RATE)]


def event(kind: str, t: float, **facts: Any) -> dict[str, Any]:
    return {"kind": kind, "t": t, **facts}


def test_a_good_conversation() -> None:
    """No gap, the level of what was played, and the time from the end of the user's speech."""
    tape = Tape(4)
    tape.tone(1.05, 1.0)
    events = [event("turn", 1.0), event("reply", 1.0, event_id=3, ms=1000)]
    figures = measure(tape, events)
    assert figures.replies == 1
    assert figures.longest_gap_ms < 1
    assert round(figures.peak_dbfs, 1) == round(figures.rms_dbfs, 1) == -12.0
    assert abs(figures.latency_ms - 1000 * (0.05 + END_OF_TURN_S)) < 1
    assert figures.largest_step == 2 * 8192
    assert math.isnan(figures.interruption_ms)
    assert len(list(figures.lines())) == 5


def test_a_gap_within_a_reply_is_seen() -> None:
    """40 ms of silence in the middle make the reply 40 ms longer."""
    tape = Tape(4)
    tape.tone(1.0, 0.5)
    tape.tone(1.54, 0.5)
    assert abs(measure(tape, [event("reply", 1.0, event_id=1, ms=1000)]).longest_gap_ms - 40) < 1


def test_an_interrupted_reply_counts_for_its_silence_only() -> None:
    """From the server's message to the last sample."""
    tape = Tape(4)
    tape.tone(1.0, 0.56)
    events = [
        event("reply", 1.0, event_id=1, ms=2000),
        event("sent", 1.5, type="interruption"),
        event("interrupted", 1.5, event_id=1),
    ]
    figures = measure(tape, events)
    assert figures.replies == 0
    assert abs(figures.interruption_ms - 60) < 1
    assert math.isnan(figures.longest_gap_ms)


def test_silence_has_no_level() -> None:
    """A loudspeaker that never sounded."""
    figures = measure(Tape(1), [event("reply", 0.1, event_id=1, ms=100)])
    assert (figures.replies, figures.peak_dbfs, figures.rms_dbfs, figures.largest_step) == (0, -100.0, -100.0, 0)
