"""Ring → real PyAudio → virtual loudspeaker; the witness is the recording of the loudspeaker's monitor.

Each check has its sabotage beside it: the same measurement on a damaged recording or run must turn red. Times of a
shared machine are noisy: medians are asserted against the figure, single runs against the figure for a grown lead.
"""

from __future__ import annotations

import array
import statistics
import threading

import pytest
from conftest import Loudspeaker

from device_agent.core.events import PlaybackIdle, PlaybackStarted, Played
from device_agent.runtime.resample import Resampler
from tests.analysis import (
    BLOCK,
    RATE,
    Samples,
    clicks,
    dbfs,
    find,
    frequency,
    gaps,
    likeness,
    noise,
    offset,
    onset,
    sine,
)  # fmt: skip

FORMATS = (8000, 16000, 22050, 24000, 44100, 48000)  # µ-law is decoded to 8 kHz before it gets here
pause = threading.Event().wait


def as_heard(signal: Samples, rate: int) -> Samples:
    resampler = Resampler(rate, RATE)
    return array.array("h", resampler.process(signal.tobytes()) + resampler.drain())


def start_of(recorded: Samples, signal: Samples) -> int:
    at = find(recorded, signal[2 * BLOCK : 3 * BLOCK], 0, RATE // 4)
    assert at is not None, "the signal is not in the recording"
    return at - 2 * BLOCK


def play_and_record(speaker: Loudspeaker, signal: Samples, rate: int, event_id: int) -> Samples:
    """What the loudspeaker gave from 50 ms before the order until the end is known."""
    at = speaker.play(signal.tobytes(), rate, event_id)
    speaker.facts.await_(lambda e: isinstance(e, Played) and e.event_id == event_id, len(signal) / rate + 5)
    pause(0.1)
    return speaker.recorder.samples(at - 0.05)


@pytest.mark.parametrize("rate", FORMATS)
def test_every_format_sounds_whole_at_its_level_and_pitch(loudspeaker: Loudspeaker, rate: int) -> None:
    """Nothing is lost, no click is added, the level is right to 0.5 dB and the pitch to 0.5 %."""
    signal = noise(2.0, rate, seed=rate)
    heard = as_heard(signal, rate)
    recorded = play_and_record(loudspeaker, signal, rate, 1)
    start = start_of(recorded, heard)
    assert sum(abs(gap.ms) for gap in gaps(recorded, heard, start)) <= 60  # one stall of a busy test machine
    assert not any(gap.ms < 0 for gap in gaps(recorded, heard, start))
    assert abs(dbfs(recorded[start : start + len(heard)]) - dbfs(heard)) < 0.5
    tone = play_and_record(loudspeaker, sine(0.5, rate), rate, 2)
    first = onset(tone) or 0
    assert abs(frequency(tone[first + RATE // 10 : first + 4 * RATE // 10]) - 440) < 2.2
    assert not clicks(tone, 1000)


def test_sabotage_damaged_recordings_are_red(loudspeaker: Loudspeaker) -> None:
    """A dropped piece, 40 ms too much, a wrong rate, a step and a wrong level are each seen by the checks above."""
    signal = noise(2.0, 24000, seed=5)
    heard = as_heard(signal, 24000)
    recorded = play_and_record(loudspeaker, signal, 24000, 1)
    start = start_of(recorded, heard)
    cut = start + RATE
    dropped = gaps(recorded[:cut] + recorded[cut + BLOCK :], heard, start)
    assert any(gap.ms < -15 for gap in dropped)
    longer = gaps(recorded[:cut] + array.array("h", bytes(4 * BLOCK)) + recorded[cut:], heard, start)
    assert any(35 < gap.ms < 45 for gap in longer)
    assert find(recorded, as_heard(signal, 16000)[2 * BLOCK : 3 * BLOCK], 0, RATE // 4) is None
    stepped = sine(0.5, RATE)
    stepped[RATE // 4 : RATE // 4 + 20] = array.array("h", [0] * 10 + [8000] * 10)
    assert clicks(stepped, 1000)
    assert abs(dbfs(array.array("h", (v // 2 for v in heard))) - dbfs(heard)) > 5


def test_a_reply_becomes_audible_within_45_ms(loudspeaker: Loudspeaker) -> None:
    """From the order to the sound, with the stream already running: at most the lead and the server's own block."""
    pause(1.0)
    delays = []
    for event_id in range(1, 11):
        at = loudspeaker.play(sine(0.1, 16000).tobytes(), 16000, event_id)
        loudspeaker.facts.await_(lambda e, n=event_id: isinstance(e, Played) and e.event_id == n)
        pause(0.1 + event_id * 0.0037)
        first = onset(loudspeaker.recorder.samples(at))
        assert first is not None
        delays.append(first * 1000 / RATE)
    print(f"first chunk → audible: median {statistics.median(delays):.1f} ms, max {max(delays):.1f} ms")
    assert statistics.median(delays) <= 45 and max(delays) <= 90


def test_a_flush_silences_within_50_ms(loudspeaker: Loudspeaker) -> None:
    """However much is queued, the loudspeaker is silent 50 ms after the flush (80 ms with a grown lead)."""
    pause(1.0)
    times = []
    for event_id in range(1, 11):
        loudspeaker.play(noise(4.0, 16000, seed=event_id).tobytes(), 16000, event_id)
        pause(0.3 + event_id * 0.0037)
        at = loudspeaker.flush()
        loudspeaker.facts.await_(lambda e, n=event_id: isinstance(e, Played) and e.event_id == n)
        pause(0.3)
        last = offset(loudspeaker.recorder.samples(at))
        times.append((last or 0) * 1000 / RATE)
    print(f"flush → silent: median {statistics.median(times):.1f} ms, max {max(times):.1f} ms")
    limit = 50 if not loudspeaker.underruns else 80
    assert statistics.median(times) <= limit and max(times) <= 120


def test_sabotage_without_a_flush_it_is_not_silent(loudspeaker: Loudspeaker) -> None:
    """The measurement above sees sound that goes on."""
    at = loudspeaker.play(noise(1.0, 16000).tobytes(), 16000)
    loudspeaker.facts.await_(lambda e: isinstance(e, Played))
    pause(0.2)
    assert (offset(loudspeaker.recorder.samples(at)) or 0) * 1000 / RATE > 900


def test_the_played_clock_agrees_with_the_recording(loudspeaker: Loudspeaker) -> None:
    """Begin, interruption and end as told lie within 20 ms of the recorded loudspeaker (median of ten)."""
    pause(1.0)
    begins, flushes = [], []
    for event_id in range(1, 11):
        signal = noise(3.0, 16000, seed=40 + event_id)
        at = loudspeaker.play(signal.tobytes(), 16000, event_id)
        pause(0.5 + event_id * 0.0053)
        loudspeaker.flush()
        played = loudspeaker.facts.await_(lambda e, n=event_id: isinstance(e, Played) and e.event_id == n)
        pause(0.2)
        recorded = loudspeaker.recorder.samples(at)
        first, last = onset(recorded, 30), offset(recorded, 30)
        started = loudspeaker.facts.await_(lambda e, n=event_id: isinstance(e, PlaybackStarted) and e.event_id == n)
        assert first is not None and last is not None
        begins.append((started.t - at) * 1000 - first * 1000 / RATE)
        flushes.append(played.ms - (last - first) * 1000 / RATE)
    print("begin told − heard:", [round(v, 1) for v in begins], "length told − heard:", [round(v, 1) for v in flushes])
    assert abs(statistics.median(begins)) <= 20 and abs(statistics.median(flushes)) <= 20
    assert abs(statistics.median(flushes) + 40) > 20  # sabotage: 40 ms of error would be seen


def test_a_reply_at_once_has_no_gap_beside_a_busy_process(loudspeaker: Loudspeaker, busy: None) -> None:
    """Another process that never rests takes nothing from a reply."""
    signal = noise(10.0, 16000, seed=30)
    heard = as_heard(signal, 16000)
    recorded = play_and_record(loudspeaker, signal, 16000, 1)
    found = gaps(recorded, heard, start_of(recorded, heard))
    print("gaps:", found, "underruns:", loudspeaker.underruns)
    assert not any(gap.ms < 0 or gap.lost for gap in found)
    assert len(found) <= 1


def test_a_reply_just_in_time_with_jitter_has_one_gap_at_most(loudspeaker: Loudspeaker) -> None:
    """Chunks of 100 ms, each up to 80 ms late: the cushion grows at the first gap, and nothing is lost."""
    import random
    import time

    rng = random.Random(4)
    signal = noise(10.0, 16000, seed=31)
    pcm, size = signal.tobytes(), 3200
    begin = time.monotonic()
    for number in range(len(pcm) // size):
        pause(max(0.0, begin + number * 0.1 + rng.uniform(0, 0.08) - time.monotonic()))
        final = (number + 1) * size >= len(pcm)
        loudspeaker.play(pcm[number * size : (number + 1) * size], 16000, 1, final)
    loudspeaker.facts.await_(lambda e: isinstance(e, Played) and e.complete and e.ms > 9990)
    pause(0.2)
    heard = as_heard(signal, 16000)
    recorded = loudspeaker.recorder.samples(begin - 0.05)
    found = [gap for gap in gaps(recorded, heard, start_of(recorded, heard)) if abs(gap.ms) > 5]
    print("gaps:", found, "underruns:", loudspeaker.underruns, loudspeaker.worker.feed.underruns)
    assert loudspeaker.worker.feed.underruns <= 1
    assert not any(gap.ms < 0 for gap in found) and len(found) <= 1 + loudspeaker.underruns


def test_the_stream_can_be_closed_and_opened_again(loudspeaker: Loudspeaker) -> None:
    """Ten times off and on: each time the next reply sounds."""
    for event_id in range(1, 11):
        loudspeaker.worker.use(False)
        pause(0.05)
        loudspeaker.worker.use(True)
        at = loudspeaker.play(sine(0.1, 24000).tobytes(), 24000, event_id)
        loudspeaker.facts.await_(lambda e, n=event_id: isinstance(e, Played) and e.event_id == n)
        pause(0.1)
        first = onset(loudspeaker.recorder.samples(at))
        assert first is not None and first * 1000 / RATE < 300
    assert len(loudspeaker.facts.of(PlaybackIdle)) == 10


def test_likeness_is_1_for_the_same_and_0_for_another(loudspeaker: Loudspeaker) -> None:
    """The measure itself."""
    one, other = noise(0.1, RATE, seed=1), noise(0.1, RATE, seed=2)
    assert likeness(one, 0, one) > 0.999 and abs(likeness(one, 0, other)) < 0.3
