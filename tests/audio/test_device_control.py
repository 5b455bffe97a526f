"""The control socket of the running product, with the server, the loudspeaker and /proc as witnesses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Call, call

from device_agent.bench.virtual_audio import VirtualCards
from tests.analysis import dbfs
from tests.patience import until

TONE = ("--first-message", "", "--pace", "at-once")


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """Where systemd would put socket and state."""
    return {"RUNTIME_DIRECTORY": str(tmp_path / "run"), "STATE_DIRECTORY": str(tmp_path / "state")}


@pytest.fixture
def run(cards: VirtualCards, place: dict[str, str], tmp_path: Path) -> Iterator[Call]:
    (tmp_path / "state").mkdir()
    with call(cards, "activation.modes=remote", "audio.echo=off", options=TONE, environ=place) as made:
        until(lambda: Path(place["RUNTIME_DIRECTORY"], "control.sock").exists(), 10, "the socket is there")
        yield made


def device_agent(place: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = (sys.executable, "-m", "device_agent", *words)
    return subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True, check=False)


def test_a_conversation_by_command(run: Call, place: dict[str, str]) -> None:
    """talk opens one, volume makes it softer, stop silences it, mute silences the microphone, talk --end ends it."""
    assert device_agent(place, "talk").returncode == 0
    run.ready()
    run.audible(run.simulator.order("audio", ms=20_000))
    run.pause(0.5)
    before = dbfs(run.speaker.samples(time.monotonic() - 0.3, time.monotonic() - 0.1))
    assert device_agent(place, "volume", "50").returncode == 0
    run.pause(0.5)
    after = dbfs(run.speaker.samples(time.monotonic() - 0.3, time.monotonic() - 0.1))
    assert 15 < before - after < 21  # 50 is −18 dB
    assert device_agent(place, "talk", "--stop").returncode == 0
    run.silent()
    status = json.loads(device_agent(place, "status", "--json").stdout)
    assert (status["link"], status["volume"], status["muted"]) == ("ready", 50, False)
    assert device_agent(place, "mute", "on").returncode == 0
    assert json.loads(device_agent(place, "status", "--json").stdout)["state"] == "muted"
    assert device_agent(place, "talk", "--end").returncode == 0
    assert run.simulator.wait("closed", timeout=5)["code"] == 1000


def test_what_the_user_says_in_writing_reaches_the_agent(run: Call, place: dict[str, str]) -> None:
    """`say` opens the conversation that it needs."""
    assert device_agent(place, "say", "What", "time", "is", "it?").returncode == 0
    run.simulator.wait("connected", timeout=10)
    run.simulator.wait("message", timeout=10, type="user_message")


def test_mute_outlives_a_restart(cards: VirtualCards, place: dict[str, str], tmp_path: Path) -> None:
    """Muted by command, ended, started again: still muted, and no microphone is open."""
    (tmp_path / "state").mkdir()
    for muted_before in (False, True):
        with call(cards, "activation.modes=always-on", "audio.echo=off", options=TONE, environ=place) as run:
            until(lambda: Path(place["RUNTIME_DIRECTORY"], "control.sock").exists(), 10, "the socket is there")
            status = json.loads(device_agent(place, "status", "--json").stdout)
            assert status["muted"] is muted_before
            device_agent(place, "mute", "on")
            run.pause(0.5)
            run.stop()
