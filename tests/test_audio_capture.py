"""Capture without a card: frames, stamps, levels, and the life of a stream."""

from __future__ import annotations

import array
import math
import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import FakeCards

from device_agent.audio.capture import CARD_DELAY_S, Capture, Recording
from device_agent.audio.devices import Card, Devices
from device_agent.audio.hardware import Machine
from device_agent.audio.vad import SpeechDetector, level_dbfs
from device_agent.config.schema import Audio
from device_agent.core.events import DeviceDown, DeviceUp, Event, Frame, WakeWord
from device_agent.errors import AudioError
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import FRAME_BYTES, CaptureRing


class FakeMicrophone:
    """Hears a counting signal as time passes."""

    def __init__(self, rate: int = 16_000, channels: int = 1) -> None:
        self.rate, self.channels = rate, channels
        self.now = 50.0
        self.heard = 0.0
        self.read_frames = 0
        self.gone = self.stuck = False
        self.silent = False
        self.lump = 1  # samples become available in multiples of it
        self.looks = 0
        self.before_read: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.heard += 0.0 if self.stuck else seconds * self.rate

    def get_read_available(self) -> int:
        self.looks += 1
        return -9999 if self.gone else self.available

    @property
    def available(self) -> int:
        heard = int(self.heard)
        return heard - heard % self.lump - self.read_frames

    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes:
        assert not exception_on_overflow and num_frames <= self.available
        self.before_read()
        first = self.read_frames
        self.read_frames += num_frames
        counting = range(first, first + num_frames)
        samples = (0 if self.silent else n % 30000 for n in counting for _ in range(self.channels))
        return array.array("h", samples).tobytes()

    def get_write_available(self) -> int:
        raise NotImplementedError

    def write(self, frames: bytes, num_frames: int, exception_on_underflow: bool) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class FakeWords:
    """Hears "hello" in every tenth frame that it is asked about."""

    def __init__(self) -> None:
        self.asked = self.resets = 0

    def hear(self, pcm: bytes) -> str:
        assert len(pcm) == FRAME_BYTES
        self.asked += 1
        return "hello" if self.asked % 10 == 0 else ""

    def reset(self) -> None:
        self.resets += 1


class Bench:
    def __init__(
        self, rate: int = 16_000, channels: int = 1, period_ms: int = 20, words: FakeWords | None = None
    ) -> None:
        self.mic = FakeMicrophone(rate, channels)
        self.ring = CaptureRing()
        self.latch = MuteLatch()
        self.events: list[Event] = []
        card = Card(self.mic, "fake", rate, channels)
        self.session = Recording(
            card,
            period_ms,
            self.ring,
            self.latch,
            SpeechDetector(),
            self.events.append,
            self.mic.clock,
            words=words,  # type: ignore[arg-type]
        )

    def run(self, seconds: float) -> None:
        end = self.mic.now + seconds
        while self.mic.now < end:
            self.mic.pass_time(self.session.turn())

    @property
    def frames(self) -> list[Frame]:
        return [event for event in self.events if isinstance(event, Frame)]


@pytest.mark.parametrize("period_ms", (20, 40))
def test_every_sample_becomes_part_of_one_frame(period_ms: int) -> None:
    """At 16 kHz the ring holds exactly what the card heard, 20 ms to a number."""
    bench = Bench(period_ms=period_ms)
    bench.run(1.0)
    assert [frame.seq for frame in bench.frames] == list(range(len(bench.frames)))
    kept = b"".join(found.pcm for frame in bench.frames if (found := bench.ring.read(frame.seq)))
    assert array.array("h", kept) == array.array("h", range(len(kept) // 2))
    assert len(bench.frames) >= 46


def test_words_are_listened_for_only_when_they_are_waited_for() -> None:
    """A word is told with the frame that it ended in, right behind it; after a pause the ear begins anew."""
    words = FakeWords()
    bench = Bench(words=words)
    bench.run(0.5)
    assert words.asked == 0
    for waited in (True, False, True):
        bench.session.wake = waited
        bench.run(0.5)
    assert words.resets == 2
    found = [at for at, event in enumerate(bench.events) if isinstance(event, WakeWord)]
    assert len(found) == words.asked // 10 >= 4
    for at in found:
        frame = bench.events[at - 1]
        assert isinstance(frame, Frame)
        assert bench.events[at] == WakeWord("hello", frame.seq)


@pytest.mark.parametrize(("rate", "channels"), ((48_000, 1), (44_100, 2), (8_000, 1)))
def test_other_rates_and_stereo_become_16_khz_mono(rate: int, channels: int) -> None:
    """Whatever the card gives, 50 frames of 640 bytes come out of a second."""
    bench = Bench(rate, channels)
    bench.run(1.0)
    assert 45 <= len(bench.frames) <= 50
    assert all(len(found.pcm) == FRAME_BYTES for frame in bench.frames if (found := bench.ring.read(frame.seq)))


def test_a_frame_carries_the_time_of_its_last_sample() -> None:
    """Frames read together are still 20 ms apart in time."""
    bench = Bench(period_ms=40)
    bench.run(1.0)
    times = [frame.t for frame in bench.frames]
    assert all(abs(b - a - 0.02) < 0.001 for a, b in pairwise(times))
    assert abs(times[0] - 50.02) < 0.001


def test_while_nothing_is_heard_three_frames_are_read_at_once() -> None:
    """A third of the wake-ups in a quiet room; the first sound brings the frames one by one again, until 2 s after."""
    bench = Bench()
    bench.mic.silent = True
    bench.run(4.0)
    assert {frame.next_s for frame in bench.frames[:90]} == {0.02}
    assert {frame.next_s for frame in bench.frames[110:]} == {0.06}
    bench.mic.silent = False
    bench.run(0.1)
    assert bench.frames[-1].next_s == 0.02
    bench.mic.silent = True
    bench.run(4.0)
    assert bench.frames[-1].next_s == 0.06


@pytest.mark.parametrize("lump_s", (0.001, 0.01, 0.03, 0.05))
def test_a_quiet_room_is_looked_at_seldom_whatever_the_lumps_that_samples_come_in(lump_s: float) -> None:
    """A look every 60 ms takes all whole frames that there are; none is missing."""
    bench = Bench()
    bench.mic.lump, bench.mic.silent = int(lump_s * bench.mic.rate), True
    bench.run(3.0)
    looks, frames = bench.mic.looks, len(bench.frames)
    bench.run(3.0)
    assert bench.mic.looks - looks <= 51
    assert 147 <= len(bench.frames) - frames <= 153


def test_the_first_frames_of_a_conversation_come_one_by_one() -> None:
    """However long it was quiet before: what is said first must not wait."""
    bench = Bench()
    bench.mic.silent = True
    bench.run(4.0)
    bench.session.listen(live=True)
    bench.run(0.1)
    assert bench.frames[-1].next_s == 0.02


def test_a_mute_between_the_look_and_the_read_makes_the_frame_stale() -> None:
    """The stamp is older than the samples, never newer."""
    bench = Bench()
    bench.mic.before_read = bench.latch.close
    bench.run(0.03)
    found = bench.ring.read(bench.frames[0].seq)
    assert found is not None and not bench.latch.passes(found.generation)
    bench.mic.before_read = lambda: None
    bench.latch.open()
    assert not bench.latch.passes(found.generation)


def test_what_was_heard_while_muted_never_passes_after_it() -> None:
    """Samples that waited in the card during an unmute belong to the muted time."""
    bench = Bench()
    bench.latch.close()
    bench.run(0.2)
    opened = bench.mic.now
    bench.latch.open()
    bench.run(0.3)
    passing = [f.t for f in bench.frames if (c := bench.ring.read(f.seq)) and bench.latch.passes(c.generation)]
    assert passing and opened + 0.02 <= passing[0] <= opened + CARD_DELAY_S + 0.07


def test_a_microphone_that_goes_silent_as_a_card_is_lost() -> None:
    """No samples for 0.5 s, or a negative answer, is a card that is gone."""
    bench = Bench()
    bench.run(0.5)
    bench.mic.stuck = True
    with pytest.raises(AudioError, match="delivers nothing"):
        bench.run(0.7)
    bench.mic.gone = True
    with pytest.raises(AudioError, match="plug it in again"):
        bench.session.turn()


def test_the_level_is_in_dbfs() -> None:
    """Silence is −100, full scale 0, a tone of half the amplitude 6 dB below one of the whole."""
    tone = array.array("h", (round(32767 * math.sin(n * 0.37)) for n in range(320)))
    half = array.array("h", (v // 2 for v in tone))
    assert level_dbfs(bytes(640)) == -100
    assert level_dbfs(array.array("h", [-32768] * 320).tobytes()) == 0
    assert abs(level_dbfs(tone.tobytes()) + 3) < 0.5
    assert abs(level_dbfs(tone.tobytes()) - level_dbfs(half.tobytes()) - 6.02) < 0.1


def test_silence_is_no_speech() -> None:
    """The detector says no to digital silence."""
    assert not SpeechDetector().speech(bytes(640))


class FakeHost:
    """PortAudio with one microphone, whose `open` gives what the test queues (the last for ever)."""

    def __init__(self, *results: object) -> None:
        self.results = deque(results)
        self.terminated = 0

    def get_device_count(self) -> int:
        return 1

    def get_device_info_by_index(self, device_index: int) -> dict[str, object]:
        return {"index": 0, "name": "USB Headset", "maxInputChannels": 1, "maxOutputChannels": 0}

    def get_default_input_device_info(self) -> dict[str, object]:
        return self.get_device_info_by_index(0)

    get_default_output_device_info = get_default_input_device_info

    def open(self, **settings: object) -> object:
        result = self.results.popleft() if len(self.results) > 1 else self.results[0]
        if isinstance(result, OSError):
            raise result
        return result

    def terminate(self) -> None:
        self.terminated += 1


class NoCards(FakeHost):
    """PortAudio on a machine without a card."""

    def get_device_count(self) -> int:
        return 0


class ReadyMicrophone(FakeMicrophone):
    """Always has a period; the thread that reads is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.closed = threading.Event()

    def get_read_available(self) -> int:
        return 0 if self.closed.is_set() else 320

    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes:
        self.threads.add(threading.get_ident())
        return bytes(2 * num_frames)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed.set()


def test_the_thread_opens_reads_and_closes_as_ordered() -> None:
    """`use(True)` brings DeviceUp and frames, `use(False)` closes in the same thread, the stop ends it."""
    mic, events, up = ReadyMicrophone(), [], threading.Event()

    def post(event: Event) -> None:
        events.append(event)
        if isinstance(event, DeviceUp):
            up.set()

    devices = Devices(Audio(), start=lambda: FakeHost(mic))
    capture = Capture(devices, 20, CaptureRing(), MuteLatch(), post, lambda *_: None)
    capture.start()
    capture.use(True)
    assert up.wait(2)
    capture.use(False)
    assert mic.closed.wait(2)
    assert mic.threads == {capture.ident}
    assert DeviceUp("microphone", "USB Headset", 16_000) in events
    capture.request_stop()
    assert capture.join(Deadline(2))


def test_a_card_that_will_not_open_is_said_once_and_tried_again() -> None:
    """DeviceDown names thing and remedy, the retry starts PortAudio anew, and DeviceUp follows."""
    mic, events, up = ReadyMicrophone(), [], threading.Event()

    def post(event: Event) -> None:
        events.append(event)
        if isinstance(event, DeviceUp):
            up.set()

    hosts = iter((FakeHost(OSError(-9985, "Device unavailable")), FakeHost(mic)))
    devices = Devices(Audio(), start=lambda: next(hosts))
    capture = Capture(devices, 20, CaptureRing(), MuteLatch(), post, lambda *_: None)
    capture.start()
    capture.use(True)
    assert up.wait(3)
    capture.request_stop()
    assert capture.join(Deadline(2))
    (down,) = [event for event in events if isinstance(event, DeviceDown)]
    assert "microphone 'USB Headset' is in use by another program" in down.reason
    assert devices.renewals == 1


def test_a_card_that_the_kernel_no_longer_knows_is_lost_at_once() -> None:
    """0.1 s without samples are reason to look; a card that is still there has 0.5 s."""
    bench = Bench()
    bench.run(0.2)
    bench.mic.stuck = True
    bench.run(0.3)
    bench.session._card.gone = lambda: True
    with pytest.raises(AudioError, match="was unplugged"):
        bench.run(0.1)


def test_a_card_that_comes_is_noticed_in_the_pause_between_two_tries(tmp_path: Path) -> None:
    """The pause may have grown to 5 s; the kernel's list is looked at four times a second."""
    kernel, mic, events, up = FakeCards(tmp_path), ReadyMicrophone(), [], threading.Event()
    down = threading.Event()

    def post(event: Event) -> None:
        events.append(event)
        (down if isinstance(event, DeviceDown) else up).set()

    hosts = iter((NoCards(mic), FakeHost(mic)))
    capture = Capture(
        Devices(Audio(), lambda: next(hosts), Machine(tmp_path, {})),
        20,
        CaptureRing(),
        MuteLatch(),
        post,
        lambda *_: None,
    )
    capture._pause = 60.0
    capture.start()
    capture.use(True)
    assert down.wait(2)
    kernel.plug(1, "Headset", "USB Headset")
    assert up.wait(2)
    capture.request_stop()
    assert capture.join(Deadline(2))
