"""Mute on the running product, judged by the server: every sample that it received says when it was captured."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig import SILENT_AGENT, read

from device_agent.bench.demo import Simulator
from device_agent.control.client import Client
from tests.analysis import Samples
from tests.patience import until

CHILD = Path(__file__).with_name("stamped_device.py")
STEP_S = 0.005
TOGGLES = 1000
LIMIT_S = 0.05


@dataclass(frozen=True)
class Muted:
    """Asked for, known to hold, and asked to be over; monotonic seconds."""

    asked: float
    held: float
    over: float


@dataclass(frozen=True)
class Verdict:
    """`leaked` samples were captured while muted; `late` is how long after asking the last sample was, each time."""

    leaked: int
    heard: int
    late: list[float]


def judge(received: Samples, origin: float, times: list[Muted]) -> Verdict:
    """What the server has got of the muted times."""
    counts: dict[int, int] = {}
    for value in received:
        if value > 0:
            counts[value] = counts.get(value, 0) + 1
    stamps = sorted((origin + (value - 1) * STEP_S, count) for value, count in counts.items())
    leaked, late, at = 0, [], 0
    for muted in times:
        last = muted.asked
        while at < len(stamps) and stamps[at][0] + STEP_S <= muted.over:
            begin, count = stamps[at]
            if begin >= muted.held:
                leaked += count
            elif begin > muted.asked:
                last = begin + STEP_S
            at += 1
        late.append(last - muted.asked)
    return Verdict(leaked, sum(counts.values()), late)


def toggled(home: Path, toggles: int, leak: bool = False) -> Verdict:
    """A conversation in which mute is toggled so often at random moments."""
    home.mkdir()
    rng, rest, origin = random.Random(toggles), threading.Event(), time.monotonic()
    socket, times = home / "control.sock", []
    with Simulator(home / "heard.wav", *SILENT_AGENT) as simulator:
        settings = ("agent.id=a", f"server.url={simulator.url}", "activation.modes=always-on", "audio.echo=off",
                    "sounds.earcons=false", "sounds.speech=false", "session.idle_close_s=0")  # fmt: skip
        process = subprocess.Popen(
            (sys.executable, str(CHILD), str(origin), str(socket), str(int(leak)), *settings), stdin=subprocess.DEVNULL
        )
        try:
            simulator.wait("audio", timeout=20)
            with Client(socket) as device:
                for _ in range(toggles // 2):
                    rest.wait(rng.uniform(0.02, 0.14))
                    asked = time.monotonic()
                    device.ask("mute", muted=True)
                    until(lambda: device.ask("status")["muted"], 5, "muted")
                    held = time.monotonic()
                    rest.wait(rng.uniform(0.0, 0.08))
                    times.append(Muted(asked, held, time.monotonic()))
                    device.ask("mute", muted=False)
            rest.wait(0.5)
            assert process.poll() is None
            assert not simulator.of_kind("closed")  # it was one conversation
        finally:
            process.terminate()
            process.wait(10)
        return judge(read(simulator.record), origin, times)


@pytest.mark.slow
def test_a_thousand_toggles_leak_no_sample(tmp_path: Path) -> None:
    """Of what is captured from the moment on at which mute holds, until somebody ends it, the server gets nothing.

    Mute holds within 50 ms, buffered audio included. Sabotage: one muted frame that is sent is seen.
    """
    verdict = toggled(tmp_path / "sound", TOGGLES)
    late = sorted(verdict.late)
    figures = [f"{1000 * found:.1f}" for found in (statistics.median(late), late[len(late) * 99 // 100], late[-1])]
    print(
        f"{verdict.heard} samples heard; the last one came {', '.join(figures)} ms (median, 99 %, most) after the order"
    )
    assert verdict.leaked == 0
    assert verdict.heard > 16_000  # it was open in between
    assert statistics.median(late) <= LIMIT_S
    assert toggled(tmp_path / "leaking", 40, leak=True).leaked > 0
