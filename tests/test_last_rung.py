"""The last rung: the machine is started anew after hours without network or sound, and only then."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from test_last_good import Service

from device_agent.runtime.deadline import Deadline
from device_agent.system.last_rung import ORDER, YOUNG, Health, LastRung
from device_agent.system.last_rung import UNWELL as UNWELL_MARK
from device_agent.system.state_file import StateFile

HOURS = 3.0
WELL, UNWELL, TALKING = Health(True, False), Health(False, False), Health(False, True)


@dataclass
class Machine:
    """A machine that is on; `process` is the device's that runs now."""

    home: Path
    clock: FakeClock = field(default_factory=FakeClock)
    hours: float = 0.0

    def __post_init__(self) -> None:
        self.run = self.home / "run"
        self.run.mkdir()
        self.start()

    def start(self) -> None:
        """A new process, which finds what the one before has left."""
        self.state = StateFile(self.home / "state.json", spacing_s=0.0)
        self.process = LastRung(HOURS, self.run, self.state, self.clock)

    def boot(self) -> None:
        """The runtime directory lies in memory."""
        for file in self.run.iterdir():
            file.unlink()
        self.clock.now = 0.0
        self.start()

    def pass_hours(self, hours: float, condition: Health) -> bool:
        """Look every minute; whether an order was given since the boot."""
        for _ in range(round(60 * hours)):
            self.clock.advance(60.0)
            self.hours += 1 / 60
            self.process.look(condition)
        return (self.run / ORDER).exists()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_hours_without_what_it_needs_start_the_machine_anew(machine: Machine) -> None:
    """Not before, and not in a conversation; it is written down before the order is given."""
    assert not machine.pass_hours(1, WELL)
    assert not machine.pass_hours(HOURS, UNWELL)
    assert not machine.pass_hours(1, TALKING)
    assert machine.pass_hours(0.1, UNWELL)
    assert StateFile(machine.home / "state.json").kept.rebooted


def test_a_minute_of_health_begins_anew(machine: Machine) -> None:
    """A glimpse of the network does not."""
    machine.pass_hours(2.5, UNWELL)
    machine.process.look(WELL)
    assert not machine.pass_hours(0.4, UNWELL)
    assert machine.pass_hours(0.2, UNWELL)
    machine.boot()
    machine.pass_hours(2.9, UNWELL)
    machine.pass_hours(0.1, WELL)
    assert not machine.pass_hours(2.9, UNWELL)


def test_a_restart_of_the_process_changes_nothing(machine: Machine) -> None:
    """The hours are counted on."""
    machine.pass_hours(2, UNWELL)
    machine.start()
    assert not machine.pass_hours(0.9, UNWELL)
    assert machine.pass_hours(0.2, UNWELL)


def test_a_process_that_keeps_dying_counts_as_unwell(machine: Machine) -> None:
    """However well each looks before it dies; one that lives for a minute ends that."""
    for n in range(round(3600 * HOURS / 30)):
        if n == 100:  # this one lives
            machine.clock.advance(61.0)
            machine.process.look(WELL)
        machine.start()
        machine.clock.advance(30.0)
        machine.process.look(WELL)
        assert not (machine.run / ORDER).exists()
    for _ in range(101):
        machine.start()
        machine.clock.advance(30.0)
        machine.process.look(WELL)
    assert (machine.run / ORDER).exists()


def test_twice_a_day_is_enough(machine: Machine) -> None:
    """However long it goes on: the third comes a day after the first."""
    ordered = []
    while len(ordered) < 6:
        machine.boot()
        while not machine.pass_hours(0.1, UNWELL):
            pass
        ordered.append(machine.hours)
    assert ordered[0] == pytest.approx(HOURS, abs=0.2)
    assert all(third - first >= 24 for first, third in zip(ordered, ordered[2:], strict=False))


def test_what_cannot_be_counted_is_not_ordered(machine: Machine) -> None:
    """On a read-only root the machine would be started anew for ever."""
    (machine.home / "state.json").mkdir()
    machine.start()
    assert not machine.pass_hours(2 * HOURS, UNWELL)


class Crossed(StateFile):
    """Another thread changes something in the moment of each first order: of the two changes the other one stays."""

    crossed = 0

    def change(self, **changes: Any) -> None:
        self.crossed += 1
        super().change(**({"volume": self.crossed} if self.crossed == 1 else changes))


def test_an_order_that_was_not_counted_is_given_when_it_is(machine: Machine) -> None:
    """Else it would be given again after the boot. It is tried again at the next look."""
    machine.state = Crossed(machine.home / "state.json", spacing_s=0.0)
    machine.process = LastRung(HOURS, machine.run, machine.state, machine.clock)
    assert machine.pass_hours(HOURS + 0.1, UNWELL)
    assert machine.state.crossed == 2
    assert StateFile(machine.home / "state.json").kept.rebooted


def test_a_runtime_directory_that_is_away_is_no_fault(tmp_path: Path) -> None:
    """It is said; nothing is ordered that nobody could read."""
    clock, state = FakeClock(), StateFile(tmp_path / "state.json")
    rung = LastRung(HOURS, tmp_path / "nowhere", state, clock)
    for _ in range(10):
        clock.advance(3600.0)
        rung.look(UNWELL)
    assert state.close(Deadline(1.0)) and state.kept.rebooted


@pytest.mark.parametrize(("hours", "asked"), [("0.001", True), ("0", False)])
def test_the_started_program_gives_the_order(tmp_path: Path, hours: str, asked: bool) -> None:
    """Always-on, without a server, seconds in place of hours: the file that systemd waits for is there.

    Sabotage: without the setting the same outage does not even leave a mark.
    """
    (tmp_path / "run").mkdir()
    service = Service(tmp_path, f'[agent]\nid = "agent_1"\n[rescue]\nreboot_after_h = {hours}\n')
    try:
        service.says("READY=1")
        for _ in range(6):  # seconds
            service.says("WATCHDOG=1")
        marks = {file.name for file in (tmp_path / "run").iterdir()}
        assert ({ORDER, UNWELL_MARK, YOUNG} <= marks) is asked
        assert StateFile(tmp_path / "state.json").kept.rebooted is asked
        assert asked or not {ORDER, UNWELL_MARK, YOUNG} & marks
    finally:
        service.end()
