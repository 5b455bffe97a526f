"""`bench meter` and `bench record` on real sound cards, as a person starts them."""

from __future__ import annotations

import array
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rig import displaced, read
from steady import Metronome

from device_agent.bench.demo import Simulator
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.simulator.voice import flite
from tests.analysis import RATE, WIRE_RATE, find, noise, resampled
from tests.patience import until

BENCH = (sys.executable, "-m", "device_agent", "bench")


def test_the_meter_shows_the_level_of_what_is_heard(cards: VirtualCards, tmp_path: Path) -> None:
    """Plain lines without a terminal: noise of −20 dBFS, then silence. No network, no agent, exit code 0."""
    config = tmp_path / "empty.toml"
    config.touch()
    with Microphone(cards) as microphone:
        microphone.say(noise(3.0, RATE, dbfs=-20.0).tobytes())
        # Without a canceller, whose noise suppression would take some of the noise away.
        command = (*BENCH, "meter", "--config", str(config), "--set", "audio.echo=off", "--seconds", "6")
        done = subprocess.run(
            command, env={**os.environ, **cards.environ}, capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 0, done.stderr
    levels = [float(found[1]) for found in re.finditer(r"^level +(-?\d+) dBFS  floor", done.stdout, re.MULTILINE)]
    assert len(levels) >= 3, done.stdout
    assert any(abs(level + 20) <= 2 for level in levels), done.stdout
    assert levels[-1] < -80
    assert "\r" not in done.stdout


def test_both_sides_are_recorded_and_lie_on_one_time(cards: VirtualCards, tmp_path: Path) -> None:
    """What was said into the microphone and what the agent answered are in two files, which begin together."""
    config = tmp_path / "empty.toml"
    config.touch()
    words = noise(2.0, WIRE_RATE, seed=5)
    greeting = "Good morning. How can I help you today?"
    with (
        Recorder(cards) as speaker,
        Microphone(cards) as microphone,
        Metronome() as metronome,
        Simulator(tmp_path / "heard.wav", "--first-message", greeting) as simulator,
    ):
        options = ("agent.id=a", f"server.url={simulator.url}", "audio.echo=off", "sounds.earcons=false")
        sets = [word for option in options for word in ("--set", option)]
        command = (*BENCH, "record", "--config", str(config), "--seconds", "8", "--output", str(tmp_path), *sets)
        recording = subprocess.Popen(command, env={**os.environ, **cards.environ}, stdout=subprocess.PIPE, text=True)
        reply = simulator.wait("reply")
        until(lambda: time.monotonic() > reply["t"] + reply["ms"] / 1000 + 0.5, 10, "the greeting has sounded")
        microphone.say(resampled(words, WIRE_RATE, RATE).tobytes())
        output, _ = recording.communicate(timeout=30)
        played = speaker.samples()
    assert recording.returncode == 0
    assert "Everybody who can be heard must know" in output
    heard = read(tmp_path / "microphone.wav")
    start = find(heard, words[: WIRE_RATE // 2], 0, len(heard) - WIRE_RATE)
    assert start is not None
    assert len(displaced(heard, words, WIRE_RATE, around=start)) <= metronome.stalls
    said = resampled(read(tmp_path / "loudspeaker.wav"), RATE, WIRE_RATE)
    voice = array.array("h", flite(greeting))
    assert find(said, voice[WIRE_RATE : 3 * WIRE_RATE // 2], 0, len(said) - WIRE_RATE) is not None
    assert find(resampled(played, RATE, WIRE_RATE), voice[WIRE_RATE : 3 * WIRE_RATE // 2], 0, 12 * WIRE_RATE)
    assert until(lambda: not list(tmp_path.glob(".recording-*")), 1, "no temporary files are left")
