"""The device's own id: systemd's, never the machine's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from device_agent.config.schema import Agent
from device_agent.system.identity import APPLICATION, MACHINE_ID, device_id, identified

MACHINE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "machine-id"
    place.write_text(f"{MACHINE}\n")
    return place


def test_it_belongs_to_the_machine_and_does_not_give_it_away(file: Path) -> None:
    """The same each time, another one on another machine, nothing of the machine's id in it."""
    mine = device_id(file)
    assert mine == device_id(file) and len(mine) == 32 and mine[:8] not in MACHINE
    file.write_text("f" * 32)
    assert device_id(file) != mine


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0123", "zz" * 16])
def test_a_machine_without_an_id_has_none(file: Path, text: str) -> None:
    """As an image before its first boot."""
    file.write_text(text)
    assert device_id(file) == ""
    file.unlink()
    assert device_id(file) == ""


def test_the_agent_learns_it_only_where_it_is_asked_for(file: Path) -> None:
    """In the user id and in dynamic variables, as a part of any text; everything else is left as it is."""
    assert identified(Agent(id="a"), file) == Agent(id="a")
    asked = Agent(user_id="hall-{device_id}", dynamic_variables={"device": "{device_id}", "floor": 2, "name": "{x}"})
    told = identified(asked, file)
    mine = device_id(file)
    assert told.user_id == f"hall-{mine}"
    assert told.dynamic_variables == {"device": mine, "floor": 2, "name": "{x}"}


@pytest.mark.skipif(shutil.which("systemd-id128") is None or not MACHINE_ID.exists(), reason="no systemd here")
def test_systemd_comes_to_the_same() -> None:
    """Its own tool, for this machine."""
    command = ("systemd-id128", "machine-id", f"--app-specific={APPLICATION.hex()}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode == 0:
        assert device_id() == done.stdout.strip()
