"""The installed package under a real systemd: started, frozen, killed, cut off, and each time there again.

systemd and its journal are the witnesses. A twin of the unit, without what the unit owes its recovery to, shows that
they are not blind. `SUITE=trixie` takes Debian 13, where the delay between two starts grows.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from booted import Booted, CannotBoot
from faults.conftest import figure  # noqa: F401 (row 51 of the fault table)
from root import Root

ROOT = Path(__file__).parent.parent.parent
UNIT, TWIN, MUTE_ONE = "device-agent", "twin", "never-ready"
SETTINGS = '[agent]\nid = "agent_1"\n[server]\nurl = "ws://127.0.0.1:8765"\n'
SIMULATOR = "device-agent bench simulate --port 8765 --events /run/events --first-message ''"
STATE = "/var/lib/device-agent/state.json"
BACK_S, FROZEN_S = 6.0, 16.0
KILLS = 3


def without_recovery(unit: str) -> str:
    """The unit as `TWIN`: nobody watches it, and systemd gives up after two starts."""
    unit = re.sub(r"(?m)^(RuntimeDirectory|StateDirectory)=.*$", rf"\1={TWIN}", unit)
    unit = re.sub(r"(?m)^(WatchdogSec|WorkingDirectory)=.*$", "", unit)
    unit = re.sub(r"(?m)^StartLimitIntervalSec=0$", "StartLimitIntervalSec=600\nStartLimitBurst=2", unit)
    return unit.replace("[Service]", "[Service]\nEnvironment=DEVICE_AGENT_SERVER_URL=ws://127.0.0.1:9")


@pytest.fixture(scope="module")
def machine(debian: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """Booted, with the package installed, a server of its own, and the service enabled but not started."""
    if os.geteuid() != 0:
        pytest.skip("boots a Debian in namespaces, which only root may make: sudo script/test --all")
    home = tmp_path_factory.mktemp("booted")
    root = Root(debian, home)
    done = root.install(package)
    assert done.returncode == 0, done.stdout
    booted = Booted(debian, home)
    try:
        print(f"booted in {booted.boot():.2f} s")
    except CannotBoot as error:
        pytest.skip(f"this machine does not let systemd run in namespaces of its own: {error}")
    try:
        prepare(booted)
        yield booted
    finally:
        booted.power_cut()


def prepare(machine: Booted) -> None:
    machine.write("/etc/device-agent/conf.d/bench.toml", SETTINGS)
    machine.write(
        f"/etc/systemd/system/{TWIN}.service", without_recovery((ROOT / f"systemd/{UNIT}.service").read_text())
    )
    machine.write(
        f"/etc/systemd/system/{MUTE_ONE}.service",
        "[Service]\nType=notify\nExecStart=/bin/sleep infinity\nTimeoutStartSec=300\n",
    )
    machine.run(f"systemctl daemon-reload; systemctl enable --quiet {UNIT}")
    machine.run(f"systemd-run --quiet --unit=simulator {SIMULATOR}")


def connections(machine: Booted) -> int:
    """How many conversations the server has seen."""
    return machine.run("cat /run/events").count('"kind": "connected"')


def status(machine: Booted) -> dict[str, Any]:
    """Its exit code is 1, as long as there is no sound card."""
    found: dict[str, Any] = json.loads(machine.attempt("device-agent status --json").stdout)
    return found


def test_it_gets_ready_and_says_what_it_does(machine: Booted) -> None:
    """systemd has its READY and its STATUS; the server, a conversation. Sabotage: who never says so is never active."""
    machine.run(f"systemctl start --no-block {MUTE_ONE}")
    machine.run("until grep -q listening /run/events; do sleep 0.05; done; systemctl start device-agent twin")
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.show(UNIT, "Type") == "notify"
    machine.run("until grep -q connected /run/events; do sleep 0.05; done")
    assert machine.show(UNIT, "StatusText").startswith("no-microphone: ")
    assert connections(machine) == 1
    assert machine.show(MUTE_ONE, "ActiveState") == "activating"


def test_row_51_it_is_killed(machine: Booted, figure: Callable[[int, str], None]) -> None:  # noqa: F811
    """SIGKILL: READY again within 6 s, in a new conversation, and as muted and as loud as before."""
    machine.run("device-agent mute on && device-agent volume 40")
    machine.run(f"until grep -q true {STATE} && grep -q 40 {STATE}; do sleep 0.05; done")
    took = machine.back(UNIT, machine.strike(UNIT, signal.SIGKILL), BACK_S)
    figure(51, f"READY after {took:.1f} s, muted as before")
    assert took < BACK_S
    now = status(machine)
    assert (now["muted"], now["volume"]) == (True, 40)
    assert "code=killed, status=9/KILL" in machine.journal(UNIT)
    machine.run("until [ $(grep -c connected /run/events) -gt 1 ]; do sleep 0.05; done")


def test_it_is_frozen(machine: Booted) -> None:
    """SIGSTOP: no ping for 10 s, the end with stacks in the journal, READY again. The unwatched twin stays so."""
    unwatched = machine.strike(TWIN, signal.SIGSTOP)
    took = machine.back(UNIT, machine.strike(UNIT, signal.SIGSTOP), FROZEN_S)
    print(f"frozen → READY: {took:.1f} s")
    said = machine.journal(UNIT)
    assert "Watchdog timeout (limit 10s)!" in said
    assert "Failed with result 'watchdog'" in said
    assert said.count("(most recent call first)") >= 3
    assert machine.pid(TWIN) == unwatched
    assert machine.run(f"cut -d' ' -f3 /proc/{unwatched}/stat").strip() == "T"


def test_it_is_killed_again_and_again(machine: Booted) -> None:
    """systemd never gives it up, and from 254 on waits longer each time. Sabotage: the twin is given up."""
    grows = int(machine.run("systemctl --version").split()[1]) >= 254
    took = []
    for _ in range(KILLS):
        machine.attempt(f"kill -KILL {machine.pid(TWIN) or ''}")
        took.append(machine.back(UNIT, machine.strike(UNIT, signal.SIGKILL), 60.0))
    print(f"killed → READY: {', '.join(f'{s:.1f}' for s in took)} s")
    assert took[-1] > 2 * took[0] if grows else max(took) < BACK_S
    assert machine.show(TWIN, "Result") == "start-limit-hit" or machine.show(TWIN, "ActiveState") == "failed"


def test_the_power_is_cut(machine: Booted) -> None:
    """It starts at the next boot by itself, without any network or server, and as muted as before."""
    machine.power_cut()
    print(f"booted in {machine.boot():.2f} s")
    machine.back(UNIT, 0, BACK_S)
    assert status(machine)["muted"] is True
