"""Push-to-talk and toggle on the running product, with a button made of software and real sound cards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from analysis import noise, onset
from rig import SILENT_AGENT, WIRE_RATE, displaced, pcm, read, resampled, until
from steady import Metronome

from device_agent.bench.demo import Simulator
from device_agent.bench.virtual_audio import RATE, Microphone, Recorder, VirtualCards
from device_agent.errors import DeviceAgentError

CHILD = Path(__file__).with_name("button_device.py")


class Button:
    """The device's button and light; the device is a child process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[list[str]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def move(self, what: str) -> float:
        """`press`, `release` or an order; the time at which it happened."""
        before = len(self.lines)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        said = lambda: [t for *words, t in self.lines[before:] if words == what.split()]  # noqa: E731
        return float(until(said, 5, what)[0])

    def lit(self, name: str, since: float) -> float:
        """When, from `since` on, the light showed `name`."""
        shown = lambda: [t for *words, t in self.lines if words == ["light", name] and float(t) >= since]  # noqa: E731
        return float(until(shown, 5, f"light {name}")[0])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())


@contextmanager
def button(simulator: Any, cards: VirtualCards, *settings: str) -> Iterator[Button]:
    chosen = ("agent.id=a", f"server.url={simulator.url}", "audio.echo=off", "panel.backend=mock",
              "panel.button_pin=17", "panel.led_pin=27", "sounds.earcons=false", "sounds.speech=false",
              *settings)  # fmt: skip
    process = subprocess.Popen(
        (sys.executable, str(CHILD), *chosen), env={**os.environ, **cards.environ},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    made = Button(process)
    try:
        until(lambda: ["ready"] in [line[:1] for line in made.lines], 10, "the device is ready")
        yield made
    finally:
        process.terminate()
        process.wait(5)


def test_push_to_talk_keeps_the_words_spoken_at_once(cards: VirtualCards, tmp_path: Path) -> None:
    """A press connects and lights up; what is said from 60 ms after it on is at the server, whole and in order.

    Sabotage: the same comparison with the first 100 ms cut off is red.
    """
    words = noise(2.0, WIRE_RATE)
    heard = tmp_path / "heard.wav"
    with (
        Recorder(cards) as _,
        Recorder(cards, cards.microphone) as room,
        Microphone(cards) as microphone,
        Metronome() as metronome,
        Simulator(heard, *SILENT_AGENT, "--latency", "300", "--end-of-turn-ms", "60000") as simulator,
        button(simulator, cards, "activation.modes=push-to-talk") as device,
    ):
        assert not simulator.of_kind("connected")
        microphone.say(pcm(words))
        begin = until(lambda: onset(room.samples()), 8, "the words sound")
        pressed = device.move("press")
        assert device.lit("connecting", pressed) - pressed < 0.1
        assert simulator.wait("connected", since=pressed)["t"] - pressed < 0.5
        device.lit("listening", pressed)
        until(lambda: len(read(heard)) > 1.5 * WIRE_RATE, 5, "the words arrive")
        device.move("release")
        late = max(0, round((pressed + 0.06 - room.origin) * RATE) - begin)  # said before anyone could hear
        said = resampled(room.samples()[begin + late : begin + late + RATE], RATE, WIRE_RATE)
        received = read(heard)
        assert len(displaced(received, said, WIRE_RATE, around=WIRE_RATE // 10)) <= metronome.stalls
        assert displaced(received[WIRE_RATE // 2 :], said, WIRE_RATE, around=0)
        assert simulator.of_kind("violation") == []


def test_toggle_opens_and_closes(cards: VirtualCards, tmp_path: Path) -> None:
    """One press opens a conversation, the next closes it with a proper goodbye; in between the light says listening.

    Sabotage: without the second press nothing is closed.
    """
    with (
        Recorder(cards) as _,
        Microphone(cards) as _,
        Simulator(tmp_path / "heard.wav", *SILENT_AGENT) as simulator,
        button(simulator, cards, "activation.modes=toggle") as device,
    ):
        pressed = device.move("press")
        device.lit("listening", pressed)
        device.move("release")
        simulator.wait("audio")
        with pytest.raises(DeviceAgentError, match="did not see closed"):
            simulator.wait("closed", timeout=1.0)
        pressed = device.move("press")
        assert simulator.wait("closed", since=pressed)["code"] == 1000
        device.lit("idle", pressed)
        device.move("release")
        assert len(simulator.of_kind("connected")) == 1
