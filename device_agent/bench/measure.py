"""What a conversation sounded like, in figures: from the loudspeaker's recording and what the server witnessed."""

from __future__ import annotations

import array
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import Any, Protocol, TypeAlias

from device_agent.bench.virtual_audio import RATE

Samples: TypeAlias = "array.array[int]"
Event = dict[str, Any]
SOUND = 200  # a peak of −44 dBFS
BREATH = 2  # not silence: a synthetic voice begins with 0.2 s that nobody hears
END_OF_TURN_S = 0.6  # of silence that the server waits for


class Recording(Protocol):
    """Samples by monotonic time, 48 kHz."""

    def samples(self, since: float = 0.0, until: float = math.inf) -> Samples: ...


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the replies that sounded to their end; times in ms, levels in dBFS. NaN: nothing to measure."""

    replies: int
    longest_gap_ms: float
    """By so much the worst reply lasted longer on the loudspeaker than its own length."""
    largest_step: int
    """Between two neighbouring samples of the loudspeaker, of 32,768."""
    peak_dbfs: float
    rms_dbfs: float
    latency_ms: float
    """Median from the end of the user's speech to the reply's first sample at the loudspeaker."""
    interruption_ms: float
    """Median from the server's message to silence."""

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"  {self.replies} replies played whole; the longest gap within one: {self.longest_gap_ms:.0f} ms"
        yield f"  loudspeaker: peak {self.peak_dbfs:.1f} dBFS, mean {self.rms_dbfs:.1f} dBFS while it sounds"
        yield f"  largest step between two samples: {100 * self.largest_step / 32768:.1f} % of full scale"
        yield f"  user stops → reply begins: {self.latency_ms:.0f} ms (median; the agent waits {END_OF_TURN_S:.1f} s)"
        yield f"  interruption → silence: {self.interruption_ms:.0f} ms"


def sounding(samples: Samples) -> tuple[int, int] | None:
    """The places of the first and last sample that are heard; None if there is none."""
    first = next((at for at, value in enumerate(samples) if abs(value) > SOUND), None)
    if first is None:
        return None
    return first, next(at for at in range(len(samples) - 1, -1, -1) if abs(samples[at]) > SOUND)


def measure(loudspeaker: Recording, events: Sequence[Event]) -> Figures:
    """Figures of a conversation that is over; `events` are the server's."""
    cut = {event["event_id"] for event in events if event["kind"] == "interrupted"}
    replies = [event for event in events if event["kind"] == "reply" and event["event_id"] not in cut]
    heard, gaps, latencies = array.array("h"), [], []
    for reply in replies:
        samples = loudspeaker.samples(reply["t"], reply["t"] + reply["ms"] / 1000 + 0.7)
        place = sounding(samples)
        if place is None:
            continue
        heard += samples[place[0] : place[1] + 1]
        gaps.append(1000 * (place[1] - place[0]) / RATE - reply["ms"])
        asked = [event["t"] for event in events if event["kind"] == "turn" and event["t"] <= reply["t"]]
        if asked:
            begin = next(at for at, value in enumerate(samples) if abs(value) > BREATH)
            latencies.append(1000 * (reply["t"] + begin / RATE - asked[-1] + END_OF_TURN_S))
    return Figures(
        replies=len(gaps),
        longest_gap_ms=max(0.0, *gaps) if gaps else math.nan,
        largest_step=max((abs(b - a) for a, b in pairwise(loudspeaker.samples())), default=0),
        peak_dbfs=_dbfs(max(map(abs, heard), default=0)),
        rms_dbfs=_dbfs(math.sqrt(sum(map(mul, heard, heard)) / len(heard))) if heard else -100.0,
        latency_ms=_median(latencies),
        interruption_ms=_median(list(_silences(loudspeaker, events))),
    )


def _silences(loudspeaker: Recording, events: Sequence[Event]) -> Iterator[float]:
    """For each interruption: how long the loudspeaker still sounded."""
    for event in events:
        if event["kind"] == "sent" and event.get("type") == "interruption":
            place = sounding(loudspeaker.samples(event["t"], event["t"] + 0.5))
            yield 1000 * place[1] / RATE if place else 0.0


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan


def _dbfs(value: float) -> float:
    return 20 * math.log10(value / 32768) if value else -100.0
