"""Which means against echo hold, what the cancellers achieve, and what happens when they do not."""

from __future__ import annotations

import array
import random
from collections.abc import Callable

import pytest

from device_agent.audio.cancellers import SpeexCanceller, WebrtcCanceller, webrtc_available
from device_agent.audio.card import Card
from device_agent.audio.echo import EchoControl, means
from device_agent.audio.echo_watch import WINDOW, EchoWatch
from device_agent.audio.reference import Reference
from device_agent.audio.vad import level_dbfs
from device_agent.core.events import Echo, Event
from device_agent.errors import AudioError
from device_agent.runtime import speexdsp
from device_agent.runtime.ring import FRAME_BYTES, FRAME_SAMPLES

USB = "Jabra SPEAK 410: USB Audio (hw:1,0)"
needs_speex = pytest.mark.skipif(not speexdsp.available(), reason="libspeexdsp1 is not installed")
needs_livekit = pytest.mark.skipif(not webrtc_available(), reason="livekit is not installed")


@pytest.mark.parametrize(
    ("setting", "microphone", "loudspeaker", "webrtc", "speex", "expected"),
    (
        ("auto", "default", "default", True, True, "aec"),
        ("auto", USB, USB, False, True, "speex"),
        ("auto", "default", "default", False, True, "half-duplex"),  # two cards, perhaps: two clocks
        ("auto", USB, "HiFiBerry: - (hw:0,0)", False, True, "half-duplex"),
        ("auto", USB, USB, False, False, "half-duplex"),
        ("auto", "default", "Plantronics Headset", True, True, "off"),
        ("aec", USB, "Plantronics Headset", True, True, "aec"),
        ("aec", USB, USB, False, True, "speex"),
        ("external", "default", "default", True, True, "external"),
        ("half-duplex", USB, "Headphones", True, True, "half-duplex"),
        ("off", USB, USB, True, True, "off"),
    ),
)
def test_means(setting: str, microphone: str, loudspeaker: str, webrtc: bool, speex: bool, expected: str) -> None:
    """The best that these cards and libraries allow; what a person has set is what holds, where it can."""
    assert means(setting, microphone, loudspeaker, webrtc, speex) == expected


# ------------------------------------------------------------------------------------------- the reference
def frame(value: int) -> bytes:
    return array.array("h", [value] * FRAME_SAMPLES).tobytes()


def test_the_reference_is_kept_only_while_somebody_wants_it() -> None:
    """Without a canceller nothing is converted and nothing is kept."""
    reference = Reference()
    reference.write(frame(1), 16_000)
    reference.start()
    assert reference.all(320) == b""


def test_what_was_written_in_lumps_is_taken_in_frames() -> None:
    """After a start, and after each hole, 40 ms are waited for; then every frame comes once and in order."""
    reference = Reference()
    reference.start()
    reference.write(frame(1), 16_000)
    assert reference.frame() == bytes(FRAME_BYTES)
    reference.write(frame(2) + frame(3), 16_000)
    assert [reference.frame() for _ in range(3)] == [frame(1), frame(2), frame(3)]
    assert reference.frame() == bytes(FRAME_BYTES)
    reference.write(frame(4), 16_000)
    assert reference.frame() == bytes(FRAME_BYTES)


def test_a_reference_that_nobody_takes_stays_short() -> None:
    """More than 200 ms behind is not behind but lost: the newest 40 ms are kept."""
    reference = Reference()
    reference.start()
    for value in range(20):
        reference.write(frame(value), 16_000)
    assert reference.frame() == frame(18)


def test_other_rates_become_16_khz() -> None:
    """The canceller hears what the loudspeaker was given, at its own rate."""
    reference = Reference()
    reference.start()
    for _ in range(10):
        reference.write(bytes(2 * 960), 48_000)
    assert abs(len(reference.all(2)) - 10 * FRAME_BYTES) < 200


# ------------------------------------------------------------------------------------------- the cancellers
def loss_db(make: Callable[[Reference], SpeexCanceller | WebrtcCanceller]) -> float:
    """How much weaker an echo of noise, 80 ms late and 10 dB down, is in the fourth second."""
    chance = random.Random(7)
    loud = [int(chance.gauss(0, 5000)) for _ in range(16_000 * 4)]
    reference = Reference()
    reference.start()
    canceller = make(reference)
    near_db = cleaned_db = 0.0
    for start in range(0, len(loud), FRAME_SAMPLES):
        reference.write(
            array.array("h", [max(-32768, min(32767, s)) for s in loud[start : start + 320]]).tobytes(), 16_000
        )
        heard = [int(0.3 * loud[n - 1280]) if n >= 1280 else 0 for n in range(start, start + FRAME_SAMPLES)]
        near = array.array("h", [max(-32768, min(32767, s)) for s in heard]).tobytes()
        cleaned = canceller.process(near)
        assert len(cleaned) == FRAME_BYTES
        if start >= 48_000:
            near_db, cleaned_db = near_db + level_dbfs(near), cleaned_db + level_dbfs(cleaned)
    return (near_db - cleaned_db) / 50


@needs_speex
def test_speex_cancels_on_one_clock() -> None:
    """More than 25 dB in the fourth second; sabotage: without its reference only what noise suppression takes."""
    assert loss_db(SpeexCanceller) > 25
    assert loss_db(lambda _: SpeexCanceller(Reference())) < 18


@needs_livekit
def test_webrtc_cancels() -> None:
    """More than 35 dB in the fourth second; sabotage: without its reference only what noise suppression takes."""
    assert loss_db(WebrtcCanceller) > 35
    assert loss_db(lambda _: WebrtcCanceller(Reference())) < 25


# ------------------------------------------------------------------------------------------- the watch
def watched(watch: EchoWatch, loss: float, seconds: float, reference: float = -20.0, near: float = -26.0) -> int:
    """How often `works` changed."""
    return sum(watch.frame(reference, near, near - loss) for _ in range(round(seconds * 50)))


def settled() -> EchoWatch:
    watch = EchoWatch()
    watch.frame(-100.0, -70.0, -70.0)  # the noise floor
    return watch


def test_a_canceller_below_10_db_for_10_s_is_given_up_until_it_recovers() -> None:
    """And it must do better than 14 dB for as long to be trusted again."""
    watch = settled()
    assert watched(watch, 30, 12) == 0 and watch.works
    assert watched(watch, 5, 12) == 1 and not watch.works
    assert watched(watch, 12, 12) == 0
    assert watched(watch, 20, 12) == 1 and watch.works
    assert watch.loss_db is not None and watch.loss_db >= 14


def test_a_user_who_speaks_now_and_then_does_not_spoil_the_measure() -> None:
    """The median over 10 s stands 40 % of double talk, in which nothing is taken away."""
    watch = settled()
    for _ in range(12):
        assert watched(watch, 30, 0.6) == 0
        assert watched(watch, 0, 0.4) == 0
    assert watch.works


def test_no_echo_says_nothing() -> None:
    """With the loudspeaker silent, or too soft to be heard above the noise, nothing is judged."""
    watch = settled()
    assert watched(watch, 0, 30, reference=-100.0) == 0
    assert watched(watch, 0, 30, near=-65.0) == 0
    assert watch.works and watch.loss_db is None


# ------------------------------------------------------------------------------------------- the control
class FakeCanceller:
    """Takes away so many dB as it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.factor = 0.01

    def process(self, near: bytes) -> bytes:
        return array.array("h", [int(s * self.factor) for s in array.array("h", near)]).tobytes()


class Desk:
    def __init__(self, setting: str, broken: bool = False) -> None:
        self.events: list[Event] = []
        self.speaker: Card | None = None
        self.reference = Reference()
        self.canceller = FakeCanceller("aec")
        self.broken = broken
        self.made = 0
        self.control = EchoControl(setting, self.reference, lambda: self.speaker, self.events.append, self._make)

    def _make(self, name: str, _: Reference) -> FakeCanceller:
        self.made += 1
        if self.broken:
            raise AudioError("it does not load")
        self.canceller.name = name
        return self.canceller

    def agent_sounds(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.reference.write(frame(3000), 16_000)
            self.reference.frame()
            self.control.clean(frame(1000))


MICROPHONE = Card(None, USB, 16_000)  # type: ignore[arg-type]
SPEAKER = Card(None, USB, 48_000)  # type: ignore[arg-type]
HEADSET = Card(None, "Headset", 48_000)  # type: ignore[arg-type]


@needs_speex
def test_another_loudspeaker_may_need_other_means() -> None:
    """It is told once when the means change, and the reference is wanted only where something cancels."""
    desk = Desk("auto")
    desk.control.look(MICROPHONE)
    assert not desk.reference.wanted or webrtc_available()
    desk.speaker = SPEAKER
    desk.control.look(MICROPHONE)
    desk.control.look(MICROPHONE)
    assert desk.reference.wanted
    desk.speaker = HEADSET
    desk.control.look(MICROPHONE)
    assert [event.means for event in desk.events if isinstance(event, Echo)][-2:] == [desk.canceller.name, "off"]
    assert not desk.reference.wanted


def test_without_a_canceller_the_frame_passes_untouched() -> None:
    """`off`, `external` and `half-duplex` cost nothing here."""
    desk = Desk("half-duplex")
    desk.control.look(MICROPHONE)
    heard = frame(5)
    assert desk.control.clean(heard) is heard
    assert desk.events == [Echo("half-duplex")]


@needs_speex
def test_a_canceller_that_fails_makes_room_for_half_duplex_and_comes_back() -> None:
    """It goes on working on the signal meanwhile, which is how it is seen to recover."""
    desk = Desk("auto")
    desk.speaker = SPEAKER
    desk.control.look(MICROPHONE)
    desk.control.clean(frame(3))  # the noise floor
    name = desk.canceller.name
    desk.canceller.factor = 0.9
    desk.agent_sounds(WINDOW / 50 + 2)
    desk.canceller.factor = 0.01
    desk.agent_sounds(WINDOW / 50 + 2)
    told = [(event.means, event.failing) for event in desk.events if isinstance(event, Echo)]
    assert told == [(name, False), ("half-duplex", True), (name, False)]


@needs_speex
def test_a_canceller_that_does_not_load_leaves_half_duplex() -> None:
    """Never silence, never an echo: the safe means, and a warning in the log."""
    desk = Desk("auto", broken=True)
    desk.speaker = SPEAKER
    desk.control.look(MICROPHONE)
    assert desk.events == [Echo("half-duplex")]


@needs_livekit
@pytest.mark.parametrize(("setting", "broken", "made"), [("auto", False, 1), ("off", False, 0), ("aec", True, 2)])
def test_a_library_that_loads_slowly_is_loaded_before_the_microphone_opens(
    setting: str, broken: bool, made: int
) -> None:
    """What was made ahead is what is used; one that does not load is tried once more, and said."""
    desk = Desk(setting, broken)
    desk.control.prepare()
    desk.control.look(MICROPHONE)
    assert desk.made == made
    assert desk.events == [Echo("half-duplex" if broken else "aec" if made else setting)]
