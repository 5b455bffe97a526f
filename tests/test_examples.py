"""The examples are programs that work, through the real registry and runner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from device_agent.config.schema import Tools
from device_agent.core.commands import RunTool
from device_agent.core.events import Event, ToolDone
from device_agent.runtime.deadline import Deadline
from device_agent.tools.registry import Registry, load_files
from device_agent.tools.runner import ToolRunner

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    """gpiozero's mock pins, for the example that uses a pin by itself."""
    Device.pin_factory = MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = None


@pytest.fixture
def registry(pins: MockFactory) -> Registry:
    return load_files(EXAMPLES)


@pytest.fixture
def call(registry: Registry) -> Iterator[Any]:
    events: SimpleQueue[Event] = SimpleQueue()
    runner = ToolRunner(registry, Tools(), events.put)

    def call(name: str, /, **parameters: Any) -> str:
        runner.run(RunTool(1, f"{name}{parameters}", name, parameters))
        done = events.get(timeout=5)
        assert isinstance(done, ToolDone) and not done.is_error, done
        return done.result

    yield call
    assert runner.close(Deadline(5))


def test_five_examples_of_at_most_twenty_lines() -> None:
    """Each example can be read at a glance."""
    assert len(EXAMPLES) == 5
    assert all(len(file.read_text().splitlines()) <= 20 for file in EXAMPLES)


def test_lamp(call: Any, pins: MockFactory) -> None:
    """The lamp's pin goes high and low."""
    assert call("switch_lamp", state="on") == "The lamp is on."
    assert pins.pin(22).state == 1
    assert call("switch_lamp", state="off") == "The lamp is off."
    assert pins.pin(22).state == 0


def test_kitchen_timer(call: Any) -> None:
    """A timer that was set still runs."""
    assert call("set_timer", name="eggs", seconds=300) == "done"
    assert 290 <= json.loads(call("remaining_time"))["eggs"] <= 300


def test_temperature(call: Any) -> None:
    """Each sensor of this machine (there may be none) has a temperature."""
    assert all(-50 < celsius < 150 for celsius in json.loads(call("temperatures")).values())


def test_opening_hours(call: Any) -> None:
    """Days of the week are known, nothing else is accepted."""
    assert call("opening_hours", day="sunday") == "closed"
    assert call("opening_hours", day="monday") == "9:00 to 18:00"


def test_shopping_list(call: Any) -> None:
    """Structured parameters arrive, with their defaults, and structured results go back as JSON."""
    listed = call("add_to_shopping_list", items=[{"name": "eggs", "pieces": 6}, {"name": "milk"}])
    assert json.loads(listed) == [{"name": "eggs", "pieces": 6}, {"name": "milk", "pieces": 1}]


def test_each_can_be_described(registry: Registry) -> None:
    """The dashboard's JSON can be made for all of them."""
    assert {entry["name"] for entry in json.loads(json.dumps(registry.describe()))} == set(registry.tools)
