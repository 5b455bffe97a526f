"""`setup echo` in rooms made of arithmetic: a loudspeaker, a delay, a wall, a microphone."""

from __future__ import annotations

import argparse
import array
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from device_agent.audio.devices import Devices
from device_agent.audio.echo import MAKERS
from device_agent.audio.gain import mul
from device_agent.audio.hardware import Machine
from device_agent.cli.echo_trial import measure
from device_agent.cli.setup import add_arguments
from device_agent.config.schema import Audio
from device_agent.errors import AudioError
from device_agent.setup.echo import Finding, advise, examine, signal

RATE = 16_000
SILENCE = bytes(RATE)
PLAYED = signal()


def room(delay_ms: float, gain: float, seed: int = 1) -> bytes:
    """The same sound later, weaker, once more from a wall, and a little noise."""
    chance = random.Random(seed)
    late = round(delay_ms * RATE / 1000)
    direct = array.array("h", bytes(2 * late) + PLAYED)
    wall = [0] * 320 + [value // 3 for value in direct]
    pairs = zip(direct, wall, strict=False)
    return array.array(
        "h", (round(gain * max(-32_700, min(32_700, a + b)) + chance.gauss(0, 3)) for a, b in pairs)
    ).tobytes()


@pytest.mark.parametrize(("delay_ms", "gain"), [(0.0, 1.0), (12.5, 0.02), (333.0, 0.3)])
def test_the_delay_is_found(delay_ms: float, gain: float) -> None:
    """Right to a millisecond, whatever the level."""
    found = examine(SILENCE, PLAYED, room(delay_ms, gain), "half-duplex", {})
    assert found.delay_ms == pytest.approx(delay_ms, abs=1.0)


def test_what_is_not_there_is_not_heard() -> None:
    """Noise as loud as the room's is no echo, and nothing is advised that could be wrong."""
    noise = random.Random(5)
    quiet = array.array("h", (round(noise.gauss(0, 100)) for _ in range(7 * RATE))).tobytes()
    found = examine(quiet[:RATE], PLAYED, quiet, "half-duplex", {})
    assert (found.delay_ms, found.heard) == (None, False)
    assert advise(found)[0] == ""


def test_a_canceller_is_tried_on_the_echo() -> None:
    """The one for one clock weakens an echo by 15 dB if it is only late and quiet, but not one that is too late."""
    found = examine(SILENCE, PLAYED, room(40.0, 0.3), "speex", MAKERS)
    assert found.loss_db is not None
    assert found.loss_db > 15.0
    assert advise(found)[0] == "auto"
    late = examine(SILENCE, PLAYED, room(450.0, 0.3), "speex", MAKERS)
    assert late.loss_db is not None
    assert late.loss_db < 10.0
    assert advise(late)[0] == "half-duplex"


def test_a_microphone_that_clips_is_told_so() -> None:
    """Samples at the end of the scale come first: no canceller follows them."""
    loud = mul(room(20.0, 1.0), 12.0)
    assert examine(SILENCE, PLAYED, loud, "half-duplex", {}).clipped
    assert not examine(SILENCE, PLAYED, room(20.0, 1.0), "half-duplex", {}).clipped


HEARD = Finding("aec", room_db=-60.0, echo_db=-30.0, clipped=False, delay_ms=80.0, loss_db=30.0)


@pytest.mark.parametrize(
    ("found", "value", "says"),
    [
        (HEARD, "auto", "works here"),
        (replace(HEARD, delay_ms=None), "half-duplex", "does not work here"),
        (replace(HEARD, loss_db=5.0), "half-duplex", "does not work here"),
        (replace(HEARD, means="half-duplex", loss_db=None), "half-duplex", "pip install 'device-agent[aec]'"),
        (replace(HEARD, means="off", loss_db=None), "half-duplex", "headset's microphone does hear"),
        (replace(HEARD, clipped=True), "half-duplex", "overdriven"),
        (replace(HEARD, echo_db=-58.0, delay_ms=None), "", '"external"'),
    ],
)
def test_each_finding_has_its_advice(found: Finding, value: str, says: str) -> None:
    """A value for audio.echo, and a sentence that says why."""
    assert advise(found)[0] == value
    assert says in advise(found)[1]


@dataclass
class Room:
    """Both cards of PortAudio's shape at 16 kHz, in one clock: what is written sounds 60 ms later in the microphone."""

    deaf: bool = False
    stuck: bool = False
    now: float = 0.0
    written: array.array[int] = field(default_factory=lambda: array.array("h"))
    begun: float | None = None
    read_to: int = 0

    def get_device_count(self) -> int:
        return 1

    def get_device_info_by_index(self, device_index: int) -> dict[str, Any]:
        return {"index": 0, "name": "fake", "maxInputChannels": 1, "maxOutputChannels": 1}

    def get_default_input_device_info(self) -> dict[str, Any]:
        return self.get_device_info_by_index(0)

    get_default_output_device_info = get_default_input_device_info

    def open(self, **wanted: Any) -> Room:
        if wanted["rate"] != RATE:
            raise OSError(-9997, "Invalid sample rate")
        return self

    def get_read_available(self) -> int:
        return 0 if self.deaf else int(self.now * RATE) - self.read_to

    def get_write_available(self) -> int:
        played = 0 if self.begun is None else int((self.now - self.begun) * RATE)
        return 0 if self.stuck else 960 - (len(self.written) - min(played, len(self.written)))

    def read(self, num_frames: int, exception_on_overflow: bool) -> bytes:
        start = self.read_to - (10**9 if self.begun is None else int((self.begun + 0.060) * RATE))
        self.read_to += num_frames
        heard = [self.written[at] // 4 if 0 <= at < len(self.written) else 0 for at in range(start, start + num_frames)]
        return array.array("h", heard).tobytes()

    def write(self, frames: bytes, num_frames: int, exception_on_underflow: bool) -> None:
        self.begun = self.now if self.begun is None else self.begun
        self.written.frombytes(frames)

    def close(self) -> None:
        """Nothing to give back."""

    def terminate(self) -> None:
        """Nothing to end."""

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


def run_measure(cards: Room, volume: int = 100) -> Finding:
    devices = Devices(Audio(), start=lambda: cards, machine=Machine(Path("/nowhere"), {}))
    try:
        return measure(devices, volume, cards.pass_time)
    finally:
        devices.terminate()


def test_both_cards_at_once_give_delay_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    """From handing over to hearing it is 60 ms, within less than 8 s, and the volume is that of the device."""
    cards = Room()
    found = run_measure(cards, volume=50)
    assert found.delay_ms == pytest.approx(60.0, abs=21.0)  # the microphone is looked at every 20 ms
    assert cards.now < 8.0
    assert 495 < max(cards.written[: RATE // 10]) < 505  # the chirp's peak of 4000, 18 dB down
    assert "fake plays, fake hears" in capsys.readouterr().out


@pytest.mark.parametrize(("cards", "problem"), [
    (Room(deaf=True), "microphone 'fake' delivers nothing"), (Room(stuck=True), "loudspeaker 'fake' takes nothing"),
])  # fmt: skip
def test_a_card_that_stands_still_ends_the_trial(cards: Room, problem: str) -> None:
    """With one line that names it, instead of a wait for ever."""
    with pytest.raises(AudioError, match=problem):
        run_measure(cards)


def test_setup_knows_its_parts() -> None:
    """`setup echo --write` is one part; without a word it is the whole set-up."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(["echo", "--write"]).part == "echo"
    assert parser.parse_args([]).part is None
