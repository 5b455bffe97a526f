"""Every drill is held for real, as an installer would: the program, a server, and virtual sound cards that vanish."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from device_agent.bench.drill import held
from device_agent.bench.drills import DRILLS, Finding
from device_agent.bench.stage import Site
from device_agent.bench.virtual_audio import VirtualCards
from device_agent.config.schema import Settings

AT_ONCE = 5  # they mostly wait; the longest begin first
NOISE_S = 2.0
LONGEST = ("net", "hang")
# What the device must have said in each; and the rest is in the bounds.
SAYS = {
    "net": "offline", "server": "offline", "mic": "no-microphone", "speaker": "no-", "auth": "error",
    "clock": "offline", "hang": "ended with -14", "tool": "",
}  # fmt: skip
Held = dict[str, Future[tuple[int, list[Any]]]]


def hold(name: str) -> tuple[int, list[Any]]:
    command = (sys.executable, "-m", "device_agent", "bench", "drill", name, "--virtual", "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def drills() -> Iterator[Held]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(hold, name) for name in dict.fromkeys((*LONGEST, *DRILLS))}


@pytest.fixture(scope="module")
def frozen() -> Iterator[Future[Finding]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(hold_frozen)


@pytest.fixture(scope="module")
def unplugged() -> Iterator[Future[tuple[int, list[str]]]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(unplug)


def hold_frozen() -> Finding:
    with VirtualCards(own=True) as cards:
        return next(held("net", Site(Settings(), cards, freeze)))


def freeze(_: str) -> None:
    """At the moment of the fault the program is stopped, and does nothing about it."""
    for child in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in child.read_text().split():
            if b"\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGSTOP)


def unplug() -> tuple[int, list[str]]:
    terminal, ours = pty.openpty()
    command = (sys.executable, "-m", "device_agent", "bench", "drill", "mic")
    with VirtualCards(own=True) as cards:
        environ = {**os.environ, **cards.environ}
        with subprocess.Popen(command, env=environ, stdin=ours, stdout=subprocess.PIPE, text=True) as drill:
            assert drill.stdout is not None
            said = []
            for line in drill.stdout:
                said.append(line)
                if "please unplug the microphone" in line:
                    cards.kill_server()
                    Path(cards.environ["PULSE_SERVER"].removeprefix("unix:")).unlink()
                elif "please plug it in again" in line:
                    cards.revive_server()
    os.close(terminal)
    os.close(ours)
    return drill.returncode, said


@pytest.mark.usefixtures("frozen", "unplugged")  # they begin now, too
@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_ends_with_a_device_that_is_well(drills: Held, name: str) -> None:
    """The fault is seen in the device's state, and all is well again within the published time: exit code 0.

    A machine that is too busy with other drills may be a little late, which the drill then says.
    """
    code, findings = drills[name].result()
    print(json.dumps(findings, indent=1))
    assert code == int(any(finding["verdict"] == "failed" for finding in findings))
    for finding in findings:
        assert not finding["why"]
        assert finding["seconds"] <= finding["bound_s"] + NOISE_S
        assert (finding["verdict"] == "passed") is (finding["seconds"] <= finding["bound_s"])
        assert any(SAYS[name] in state["state"] for state in finding["states"]) or not SAYS[name]


def test_a_person_is_asked_to_unplug_a_real_card(unplugged: Future[tuple[int, list[str]]]) -> None:
    """At a terminal, with cards that are the machine's own: the person takes the whole sound server away."""
    code, said = unplugged.result()
    assert code == 0, said
    assert any("  no-" in line for line in said)  # which of both is seen first is chance
    assert said[-1].endswith("passed\n")


def test_a_device_that_does_not_recover_has_failed(frozen: Future[Finding]) -> None:
    """Sabotage of all drills: a frozen program is not taken for a well one."""
    finding = frozen.result()
    assert not finding.passed
    assert finding.seconds is None
    assert finding.done == "the connection is cut"
    assert "listening" not in [state for _, state in finding.states]
