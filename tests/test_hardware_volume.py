"""The volume as a control of the sound card: what amixer is told, and what happens where it does not obey."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from device_agent.audio.hardware_volume import HardwareVolume

PATIENCE_S = 10.0


def amixer(directory: Path, code: int = 0, complaint: str = "") -> str:
    """A program in amixer's place that notes what it is told."""
    program = directory / "amixer"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/told\necho "{complaint}" >&2\nexit {code}\n')
    program.chmod(0o755)
    return str(program)


def told(directory: Path) -> list[str]:
    return (directory / "told").read_text().splitlines()


def test_the_card_is_told_the_last_volume(tmp_path: Path) -> None:
    """However fast a knob is turned: few calls, and the last one counts."""
    works: list[bool] = []
    volume = HardwareVolume("Master", works.append, amixer(tmp_path))
    for level in range(0, 101, 5):
        volume.set(level)
    volume.join(PATIENCE_S)
    assert told(tmp_path)[-1] == "-q -M sset Master 100%"
    assert len(told(tmp_path)) < 21
    assert set(works) == {True}


def test_a_card_may_be_named_before_its_control(tmp_path: Path) -> None:
    """A control's name may hold blanks."""
    volume = HardwareVolume("hw:Device/Speaker Playback", command=amixer(tmp_path))
    volume.set(40)
    volume.join(PATIENCE_S)
    assert told(tmp_path) == ["-q -M -D hw:Device sset Speaker Playback 40%"]


def test_the_same_volume_again_costs_nothing(tmp_path: Path) -> None:
    """The card knows it already."""
    volume = HardwareVolume("Master", command=amixer(tmp_path))
    for _ in range(3):
        volume.set(40)
        volume.join(PATIENCE_S)
    assert len(told(tmp_path)) == 1


def test_what_the_card_refuses_is_said_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the words of amixer; software makes the volume meanwhile."""
    works: list[bool] = []
    volume = HardwareVolume("Mastr", works.append, amixer(tmp_path, 1, "Unable to find simple control 'Mastr',0"))
    with caplog.at_level(logging.WARNING):
        for level in (40, 40, 50):
            volume.set(level)
            volume.join(PATIENCE_S)
    assert works == [False, False, False]
    assert caplog.text.count("Unable to find simple control") == 1
    amixer(tmp_path)
    volume.set(50)
    volume.join(PATIENCE_S)
    assert works[-1] is True


def test_a_missing_amixer_is_named_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    """One line with the package."""
    volume = HardwareVolume("Master", command="amixer-that-is-not-there")
    volume.set(40)
    volume.join(PATIENCE_S)
    assert "sudo apt install alsa-utils" in caplog.text
