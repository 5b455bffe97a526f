"""`config reload` in the running program: what changes at once, and what it then still complains of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from device_agent.cli.reloading import Reloading
from device_agent.config.schema import Log, Panel, Settings, Sounds
from device_agent.core import events as e
from device_agent.errors import ConfigError
from device_agent.flight import FlightRecorder
from device_agent.observers import LogObserver


@dataclass
class Stand:
    """What `Reloading` needs of a device."""

    problems: str = ""
    posted: list[e.Event] = field(default_factory=list)
    flight: FlightRecorder = field(default_factory=lambda: FlightRecorder(Settings(), lambda: 0.5, None))

    def post(self, event: e.Event) -> None:
        self.posted.append(event)


@pytest.fixture(autouse=True)
def same_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def reloading(device: Any, wanted: Settings, observer: LogObserver | None = None, **lasting: Any) -> Reloading:
    return Reloading(device, Settings(), lambda: wanted, observer, **lasting)


def test_sounds_and_log_change_at_once() -> None:
    """The core is told which sounds are wanted, the log its level; a timeline keeps its own."""
    device, wanted = Stand(), Settings(sounds=Sounds(earcons=False, language="de"), log=Log(level="error"))
    reloading(device, wanted, LogObserver(False))()
    assert device.posted == [e.SoundsWanted(False, True, "de")]
    assert logging.getLogger().level == logging.ERROR
    logging.getLogger().setLevel(logging.WARNING)
    reloading(device, wanted)()
    assert logging.getLogger().level == logging.WARNING


def test_who_forbids_words_forbids_them_to_the_flight_recorder_too() -> None:
    """Also where a timeline stands in place of the log."""
    device = Stand()
    reloading(device, Settings(log=Log(transcripts=True)), LogObserver(False))()
    assert device.flight.transcripts
    reloading(device, Settings())()
    assert not device.flight.transcripts


def test_a_mended_configuration_is_no_problem_any_more() -> None:
    """What still waits for a restart is said where a problem stood, and nowhere else."""
    device = Stand("/etc/x.toml:2: bad")
    reloading(device, Settings())()
    assert device.problems == ""
    later = Settings(panel=Panel(led_pin=22))
    reloading(device, later)()
    assert device.problems == ""
    device.problems = "/etc/x.toml:2: bad"
    reloading(device, later)()
    assert device.problems == "mended; holds after a restart: panel.led_pin"


def test_a_key_that_could_not_be_read_stays_a_problem() -> None:
    """It is read once, at the start: no reload mends it."""
    device = Stand("key can be read by others")
    reloading(device, Settings(), lasting=["key can be read by others"])()
    assert device.problems == "key can be read by others"


def test_a_mistake_changes_nothing() -> None:
    """Neither sounds nor problems."""

    def load() -> Settings:
        raise ConfigError("/etc/x.toml:1: bad")

    device: Any = Stand("as before")
    with pytest.raises(ConfigError):
        Reloading(device, Settings(), load, None)()
    assert (device.posted, device.problems) == ([], "as before")
