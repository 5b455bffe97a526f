"""What `device-agent bench cards` prints can be pasted, and means the card beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes import FakeCards

from device_agent.audio.choice import Candidate, candidates, choose
from device_agent.audio.hardware import Machine
from device_agent.bench.cards import listing
from device_agent.config.cards import parse

NAMES = (
    "USB PnP Sound: - (hw:0,0)", "USB PnP Sound: - (hw:1,0)", "Jabra: - (hw:2,0)", "HDA Intel: Analog (hw:3,0)",
    "HDA Intel: HDMI (hw:3,3)", "default",
)  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    kernel = FakeCards(tmp_path)
    kernel.plug(0, "Device", "USB PnP Sound", usb="1-1.2", usb_id="0d8c:0014")
    kernel.plug(1, "Device_1", "USB PnP Sound", usb="1-1.3", usb_id="0d8c:0014")
    kernel.plug(2, "J", "Jabra", usb="1-2", usb_id="0b0e:0422")
    kernel.plug(3, "Intel", "HDA Intel", driver="HDA-Intel")
    kernel.plug(4, "Busy", "Busy Card", driver="X", pcm="p")
    kernel.hold(4, "p", 77, "mpd")
    return Machine(tmp_path, {})


def found(machine: Machine) -> list[Candidate]:
    infos = [{"name": name, "index": index} for index, name in enumerate(NAMES)]
    return candidates(infos, machine.cards())


def test_each_line_holds_a_match_for_its_card(machine: Machine) -> None:
    """Every match is understood, and finds the card named beside it and no other."""
    there = found(machine)
    lines = list(listing(machine, there, []))
    assert lines[0] == "audio.input:"
    for line, name in zip(lines[1:], NAMES, strict=False):
        row = re.fullmatch(r'  "(.+?)" +(.+)', line)
        assert row and row[2] == name
        assert choose("microphone", parse(row[1]), there).name == name


def test_a_card_in_use_is_listed_with_its_user(machine: Machine) -> None:
    """PortAudio does not show it; a direction without any card says so."""
    busy = list(listing(machine, [], []))[-1]
    assert re.fullmatch(r' +"id:Busy" +Busy Card is in use by mpd \(process 77\): close that program', busy)
    nothing = list(listing(Machine(Path("/nonexistent"), {}), [], []))
    assert nothing == ["audio.input:", "  there is none", "audio.output:", "  there is none"]
