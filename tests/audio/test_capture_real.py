"""Virtual microphone → real PyAudio → capture ring; the witness is the recording of what went into the microphone."""

from __future__ import annotations

import array
import statistics
import threading
import time

import pytest
from conftest import Ear

from device_agent.bench.virtual_audio import Microphone, Recorder
from device_agent.core.events import DeviceUp, Frame
from device_agent.runtime.resample import Resampler
from device_agent.runtime.ring import FRAME_SAMPLES
from tests.analysis import BLOCK, RATE, Samples, dbfs, find, gaps, noise

pause = threading.Event().wait


def captured(ear: Ear) -> tuple[list[tuple[float, Frame]], Samples]:
    """The frames with the time they were posted at, and their samples at 48 kHz."""
    frames = [(at, event) for at, event in list(ear.facts.seen) if isinstance(event, Frame)]
    pcm = b"".join(found.pcm for _, frame in frames if (found := ear.ring.read(frame.seq)))
    resampler = Resampler(16_000, RATE)
    return frames, array.array("h", resampler.process(pcm) + resampler.drain())


def opened(ear: Ear) -> float:
    at = time.monotonic()
    ear.worker.use(True)
    return at


def test_what_is_heard_is_in_the_ring_whole_and_at_its_level(
    ear: Ear, microphone: Microphone, mic_recorder: Recorder
) -> None:
    """Nothing is lost on the way from the card to the ring, and the level is kept."""
    opened(ear)
    ear.facts.await_(lambda e: isinstance(e, DeviceUp))
    begin = time.monotonic()
    microphone.say(noise(4.0, RATE, seed=60).tobytes())
    pause(4.0)
    truth = mic_recorder.samples(begin + 0.6, begin + 3.4)
    _, heard = captured(ear)
    start = find(heard, truth[2 * BLOCK : 3 * BLOCK], RATE // 4, 2 * RATE)
    assert start is not None
    start -= 2 * BLOCK
    assert not gaps(heard, truth, start)
    assert abs(dbfs(heard[start : start + len(truth)]) - dbfs(truth)) < 1.0
    cut = start + RATE  # sabotage: one lost frame is seen
    assert any(gap.ms < -15 for gap in gaps(heard[:cut] + heard[cut + BLOCK :], truth, start))


@pytest.mark.parametrize("period_ms", (20, 40))
def test_a_sample_is_young_when_its_frame_is_posted(
    devices: object, microphone: Microphone, mic_recorder: Recorder, period_ms: int
) -> None:
    """The last sample of a frame is at most 35 ms old when the core hears of it, 20 ms more with long periods."""
    ear = Ear(devices, period_ms)
    try:
        opened(ear)
        ear.facts.await_(lambda e: isinstance(e, DeviceUp))
        begin = time.monotonic()
        said = noise(3.0, RATE, seed=61)
        microphone.say(said.tobytes())
        pause(3.5)
        frames, heard = captured(ear)
        truth = mic_recorder.samples(begin)
        block = said[2 * BLOCK : 3 * BLOCK]
        true_at, heard_at = find(truth, block, 0, RATE // 2), find(heard, block, 0, RATE)
        assert true_at is not None and heard_at is not None
        ages: list[float] = []
        for number, (posted, _) in enumerate(frames):
            last = (number + 1) * FRAME_SAMPLES * 3
            sounded = begin + (last - heard_at + true_at) / RATE
            if begin + 0.2 < sounded < begin + 3.0:
                ages.append((posted - sounded) * 1000)
        print(f"age of a frame's last sample, {period_ms} ms: median {statistics.median(ages):.1f} ms, "
              f"p95 {statistics.quantiles(ages, n=20)[-1]:.1f} ms")  # fmt: skip
        assert statistics.median(ages) <= (35 if period_ms == 20 else 55)
    finally:
        ear.stop()


def test_nothing_is_lost_from_60_ms_after_the_order_to_open(
    ear: Ear, microphone: Microphone, mic_recorder: Recorder
) -> None:
    """Ten times on and off: the first sample in the ring sounded at most 60 ms after `use(True)` (median)."""
    said = noise(12.0, RATE, seed=62)
    begin = time.monotonic()
    microphone.say(said.tobytes())
    pause(0.5)
    orders: list[tuple[float, int]] = []
    for turn in range(10):
        before = len(ear.facts.of(Frame))
        orders.append((opened(ear), before))
        pause(0.4 + turn * 0.0037)
        ear.worker.use(False)
        pause(0.2)
    truth = mic_recorder.samples(begin)
    delays = []
    for at, before in orders:
        frames = ear.facts.of(Frame)[before : before + 12]
        pcm = b"".join(found.pcm for frame in frames if (found := ear.ring.read(frame.seq)))
        heard = array.array("h", Resampler(16_000, RATE).process(pcm))
        guess = round((at - begin) * RATE)
        place = find(truth, heard[4 * BLOCK : 5 * BLOCK], guess, guess + RATE // 2)
        assert place is not None
        delays.append(((place - 4 * BLOCK) / RATE - (at - begin)) * 1000)
    print("first sample in the ring after the order to open (ms):", [round(d, 1) for d in delays])
    assert statistics.median(delays) <= 60


def test_a_closed_microphone_costs_nothing(ear: Ear) -> None:
    """Closed, the thread waits without waking and posts nothing."""
    pause(0.3)
    turns = ear.worker.heart.turns
    pause(0.5)
    assert ear.worker.heart.turns == turns and not ear.facts.of(Frame)
    assert not ear.worker.heart.due
