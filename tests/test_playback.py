"""Playback without a card: a simulated one with a clock that the test turns."""

from __future__ import annotations

import array
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.audio.devices import Card
from device_agent.audio.feed import CUSHION_S, Feed
from device_agent.audio.playback import Playout
from device_agent.core.events import Event, PlaybackIdle, PlaybackStarted, Played
from device_agent.errors import AudioError
from device_agent.runtime.ring import Chunk, PlaybackRing

RATE = 16_000


@dataclass
class FakeLoudspeaker:
    """Takes samples as time passes; remembers all that was written."""

    now: float = 100.0
    written: bytearray = field(default_factory=bytearray)
    taken: float = 0.0
    gone: bool = False
    stuck: bool = False
    channels: int = 1
    BUFFER = RATE * 60 // 1000

    def clock(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if not self.stuck:
            self.taken = min(self.taken + seconds * RATE, self._frames)

    @property
    def _frames(self) -> int:
        return len(self.written) // 2 // self.channels

    def get_write_available(self) -> int:
        return -9999 if self.gone else self.BUFFER - self._frames + int(self.taken)

    def write(self, frames: bytes, num_frames: int, exception_on_underflow: bool) -> None:
        assert not exception_on_underflow and len(frames) == 2 * num_frames * self.channels
        assert num_frames <= self.get_write_available()
        self.written += frames

    def get_read_available(self) -> int:
        raise NotImplementedError

    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, channels: int = 1, rests: bool = False) -> None:
        self.card = FakeLoudspeaker(channels=channels)
        self.ring = PlaybackRing()
        self.events: list[Event] = []
        self.feed = Feed(self.ring)
        self.out = Playout(
            Card(self.card, "fake", RATE, channels), self.feed, self.events.append, self.card.clock, rests=rests
        )
        self.looks = 0
        self._handle = 0

    def queue(self, ms: float, value: int = 1000, event_id: int = 1, final: bool = False, rate: int = RATE) -> None:
        self._handle += 1
        pcm = array.array("h", [value] * round(rate * ms / 1000)).tobytes()
        assert self.ring.put(Chunk(self._handle, event_id, rate, pcm, final))
        self.ring.play(self._handle)

    def run(self, seconds: float) -> None:
        end = self.card.now + seconds
        while self.card.now < end:
            self.looks += 1
            self.card.pass_time(self.out.turn())

    def samples(self) -> array.array[int]:
        return array.array("h", bytes(self.card.written))

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_reply_is_told_from_its_first_to_its_last_sample(bench: Bench) -> None:
    """Started with the time it becomes audible, Played with its length, then Idle."""
    bench.run(0.2)
    queued_at = bench.card.now
    bench.queue(100, event_id=7, final=True)
    bench.run(0.3)
    started, played, idle = bench.events
    assert isinstance(started, PlaybackStarted) and isinstance(played, Played) and isinstance(idle, PlaybackIdle)
    assert started.event_id == played.event_id == 7
    assert queued_at <= started.t <= queued_at + 0.045
    assert played.complete and abs(played.ms - 100) < 0.1
    assert abs(idle.t - started.t - 0.1) < 0.025


def test_a_card_at_rest_is_looked_at_half_as_often() -> None:
    """Where that is wanted: a reply begins at most 20 ms later, and is fed, and cut off, as fast as ever."""
    busy, bench = Bench(), Bench(rests=True)
    for one in (busy, bench):
        one.run(2.0)
    assert bench.looks <= 0.6 * busy.looks
    queued_at, looks = bench.card.now, bench.looks
    bench.queue(1000, 20000)
    bench.run(0.5)
    (started,) = bench.of(PlaybackStarted)
    assert isinstance(started, PlaybackStarted) and queued_at <= started.t <= queued_at + 0.065
    assert bench.looks - looks > 0.9 * busy.looks / 4
    written = len(bench.samples())
    bench.ring.flush()
    bench.run(0.2)
    assert not any(bench.samples()[written:][RATE * 5 // 1000 :])


def test_every_sample_sounds_once_and_in_order(bench: Bench) -> None:
    """Chunks of one reply join without a seam; only 5 ms at each end are faded."""
    for value in (1000, 2000, 3000):
        bench.queue(30, value, final=value == 3000)
    bench.run(0.3)
    sound = [value for value in bench.samples() if value]
    fade = RATE // 200
    assert sound[fade - 1 : 1 - fade] == [1000] * (480 - fade) + [2000] * 480 + [3000] * (480 - fade)


def test_edges_are_faded(bench: Bench) -> None:
    """No step anywhere is larger than a ramp's, although the data begins and ends abruptly."""
    bench.queue(50, 20000, final=True)
    bench.run(0.2)
    samples = bench.samples()
    assert max(abs(b - a) for a, b in pairwise(samples)) <= 20000 // 80 + 1


def test_a_flush_is_silent_within_the_lead_and_a_fade(bench: Bench) -> None:
    """After a flush at most 5 ms more are written, faded; the reply is told as incomplete."""
    bench.queue(2000, 20000, event_id=3, final=True)
    bench.run(0.5)
    written = len(bench.samples())
    bench.ring.flush()
    bench.run(0.2)
    rest = bench.samples()[written:]
    assert not any(rest[RATE * 5 // 1000 :])
    assert max(abs(b - a) for a, b in pairwise(rest)) <= 20000 // 80 + 1
    (played,) = bench.of(Played)
    assert isinstance(played, Played) and not played.complete and 500 <= played.ms <= 540
    assert len(bench.of(PlaybackIdle)) == 1


def test_sabotage_without_a_flush_sound_goes_on(bench: Bench) -> None:
    """The silence check above would see a missing flush."""
    bench.queue(2000, 20000)
    bench.run(0.5)
    written = len(bench.samples())
    bench.run(0.2)
    assert any(bench.samples()[written:][RATE * 5 // 1000 :])


def test_what_is_played_right_after_a_flush_sounds(bench: Bench) -> None:
    """A new reply queued in the same instant is not taken for the old one."""
    bench.queue(1000, 20000, event_id=1)
    bench.run(0.1)
    bench.ring.flush()
    bench.queue(50, 5000, event_id=2, final=True)
    bench.run(0.3)
    ends = [(event.event_id, event.complete) for event in bench.events if isinstance(event, Played)]
    assert ends == [(1, False), (2, True)]
    assert 5000 in bench.samples()


def test_a_flush_before_the_first_sample_is_silent(bench: Bench) -> None:
    """A reply that never sounded is never reported."""
    bench.run(0.05)
    bench.queue(100)
    bench.ring.flush()
    bench.run(0.2)
    assert not bench.events and not any(bench.samples())


def test_a_reply_that_is_never_called_final_ends_when_it_has_sounded(bench: Bench) -> None:
    """Some agents never send is_final: Played and Idle come all the same, and the next reply starts anew."""
    bench.queue(60, event_id=1)
    bench.run(0.3)
    bench.queue(60, event_id=2)
    bench.run(0.3)
    assert [type(event).__name__ for event in bench.events] == ["PlaybackStarted", "Played", "PlaybackIdle"] * 2
    assert bench.feed.underruns == 0


def test_an_empty_final_chunk_closes_the_reply(bench: Bench) -> None:
    """The end may come alone, without audio."""
    bench.queue(60, event_id=1)
    bench.queue(0, event_id=1, final=True)
    bench.run(0.2)
    (played,) = bench.of(Played)
    assert isinstance(played, Played) and played.complete and abs(played.ms - 60) < 0.1


def test_replies_back_to_back_are_told_apart(bench: Bench) -> None:
    """Two replies in a row: each is told, and there is one Idle at the end."""
    bench.queue(60, event_id=1)
    bench.queue(60, event_id=2, final=True)
    bench.run(0.3)
    assert [(e.event_id, round(e.ms)) for e in bench.events if isinstance(e, Played)] == [(1, 60), (2, 60)]
    assert len(bench.of(PlaybackIdle)) == 1


def test_a_gap_within_a_reply_brings_a_cushion_that_goes_away(bench: Bench) -> None:
    """After the first gap a reply waits for 120 ms of audio; clean replies take the cushion away again."""
    bench.queue(60)
    bench.run(0.2)
    bench.queue(60)
    bench.run(0.1)
    assert bench.feed.underruns == 1 and bench.feed.cushion_s == CUSHION_S
    bench.run(0.2)
    bench.queue(0, final=True)
    bench.run(0.2)
    for event_id in range(2, 12):
        bench.queue(200, event_id=event_id, final=True)
        bench.run(0.5)
    assert bench.feed.cushion_s == 0.0
    assert sum(event.ms for event in bench.events if isinstance(event, Played) and event.event_id > 1) == 2000


def test_a_long_pause_is_thinking_not_jitter(bench: Bench) -> None:
    """A reply that goes on after seconds (a tool was called) brings no cushion."""
    bench.queue(60)
    bench.run(2.0)
    bench.queue(60, final=True)
    bench.run(0.2)
    assert bench.feed.underruns == 0


def test_every_rate_keeps_its_length(bench: Bench) -> None:
    """The clock counts milliseconds of the reply, whatever rate the agent speaks at."""
    for event_id, rate in enumerate((8000, 22050, 24000, 44100, 48000)):
        bench.queue(200, event_id=event_id, final=True, rate=rate)
        bench.run(0.4)
    assert all(abs(event.ms - 200) < 0.2 for event in bench.events if isinstance(event, Played))


def test_a_stereo_card_gets_both_sides() -> None:
    """A card without mono plays the same on both."""
    bench = Bench(channels=2)
    bench.queue(50, final=True)
    bench.run(0.1)
    assert any(bench.samples()) and bench.samples()[::2] == bench.samples()[1::2]


def test_a_late_thread_brings_a_longer_lead_for_30_s(bench: Bench) -> None:
    """The buffer is kept at 30 ms, at 60 ms after it ran dry, and at 30 ms again after 30 s without."""

    def held() -> float:
        bench.run(0.1)
        bench.out.turn()
        return (bench.card.BUFFER - bench.card.get_write_available()) * 1000 / RATE

    assert held() <= 30
    bench.card.pass_time(0.2)
    assert 40 <= held() <= 60
    assert bench.out.underruns == 1
    bench.run(31)
    assert held() <= 30


def test_a_loudspeaker_that_takes_nothing_is_lost(bench: Bench) -> None:
    """0.5 s without consumption, or a negative answer, is a card that is gone."""
    bench.card.stuck = True
    with pytest.raises(AudioError, match="takes nothing"):
        bench.run(0.7)
    assert not bench.out.running
    bench.card.gone = True
    with pytest.raises(AudioError, match="plug it in again"):
        bench.out.turn()


def test_a_stream_that_closes_settles_what_it_owes(bench: Bench) -> None:
    """Whoever closes the loudspeaker in the middle of a reply is told how much was heard."""
    bench.queue(1000, event_id=5)
    bench.run(0.3)
    bench.out.end()
    *_, played, idle = bench.events
    assert isinstance(played, Played) and not played.complete and 250 < played.ms < 320
    assert isinstance(idle, PlaybackIdle)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 120)), min_size=1, max_size=10),
    st.sampled_from((8000, 16000, 44100)),
)
def test_no_audio_is_lost_whatever_the_timing(arrivals: list[tuple[int, int]], rate: int) -> None:
    """However unevenly a reply arrives, all of it is heard."""
    bench = Bench()
    for ms, pause in arrivals:
        bench.queue(ms, rate=rate)
        bench.run(pause / 1000)
    bench.queue(0, final=True)
    bench.run(1.5)
    total = sum(round(rate * ms / 1000) for ms, _ in arrivals) * 1000 / rate
    assert max(event.ms for event in bench.events if isinstance(event, Played)) == pytest.approx(total, abs=2.0)
