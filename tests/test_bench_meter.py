"""The meter's line and the recording's microphone side, from the facts that the drivers post."""

from __future__ import annotations

import pytest

from device_agent.__main__ import main
from device_agent.bench.meter import BAR_CELLS, Meter, draw
from device_agent.bench.record import Side
from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.runtime.ring import FRAME_BYTES


def test_the_bench_offers_all_its_tools(capsys: pytest.CaptureFixture[str]) -> None:
    """Each tool explains itself; a nonsensical length is refused (exit code 64)."""
    for tool in ("simulate", "cards", "replay", "meter", "record"):
        with pytest.raises(SystemExit) as ended:
            main(["bench", tool, "--help"])
        assert ended.value.code == 0
    assert main(["bench", "meter", "--seconds", "-3"]) == 64
    assert "above 0" in capsys.readouterr().err


def frames(count: int, level: float, speech: bool = False, first: int = 0, begin: float = 0.0) -> list[e.Frame]:
    return [e.Frame(first + n, speech, level, begin + 0.02 * (first + n + 1)) for n in range(count)]


def test_a_line_says_level_floor_gate_and_losses() -> None:
    """The loudest level since the last line; the floor is the quietest lately; the gate is that of a conversation."""
    meter = Meter(Settings())
    for event in (*frames(50, -61.0), *frames(10, -20.0, speech=True, first=50), *frames(1, -40.0, first=60)):
        meter.take(event)
    assert meter.line(dry=2) == "level  -20 dBFS  floor  -61  gate open    lost 0 ms  dry 2"
    assert meter.line(dry=2).startswith("level  -40")


def test_samples_that_never_came_are_counted() -> None:
    """100 ms missing between two frames are 100 ms lost; a reopened card begins anew."""
    meter = Meter(Settings())
    for event in (*frames(5, -60.0), *frames(5, -60.0, first=5, begin=0.1)):
        meter.take(event)
    assert "lost 100 ms" in meter.line(dry=0)
    meter.take(e.DeviceUp("microphone", "card", 48_000))
    meter.take(frames(1, -60.0, first=500)[0])
    assert "lost 100 ms" in meter.line(dry=0)


def test_what_is_wrong_and_how_echo_is_cancelled_stand_in_the_line() -> None:
    """Before there is sound, only what is missing; then both."""
    meter = Meter(Settings())
    assert meter.line(dry=0) == "microphone: opening …"
    meter.take(e.DeviceDown("microphone", "no microphone: plug one in"))
    assert meter.line(dry=0) == "microphone: no microphone: plug one in"
    meter.take(e.DeviceUp("microphone", "card", 48_000))
    meter.take(e.Echo("aec", 31.4))
    meter.take(frames(1, -60.0)[0])
    assert "echo aec 31 dB" in meter.line(dry=0)
    meter.take(e.DeviceDown("loudspeaker", "in use"))
    assert meter.line(dry=0).endswith("loudspeaker: in use")


@pytest.mark.parametrize(("level", "cells"), [(-100.0, 0), (-70.0, 0), (-35.0, 12), (0.0, 24), (6.0, 24)])
def test_the_bar_goes_from_70_db_to_full_scale(level: float, cells: int) -> None:
    """Always as wide, so that the line does not jump."""
    bar = draw(level)
    assert len(bar) == BAR_CELLS
    assert bar.count("█") == cells


def test_a_recording_keeps_each_frame_in_its_place() -> None:
    """Frames that were muted or lost are silence, so that time stays true; the loudspeaker announces the recording."""
    heard = {3: b"\1" * FRAME_BYTES, 6: b"\2" * FRAME_BYTES}
    announced: list[bool] = []
    side = Side(heard.get, lambda: announced.append(True))
    side(0.0, e.DeviceUp("loudspeaker", "card", 48_000), (), None)
    for seq in (3, 4, 6):
        side(0.0, e.Frame(seq, False, -60.0, 10.0 + 0.02 * seq), (), None)
    assert bytes(side.pcm) == heard[3] + bytes(2 * FRAME_BYTES) + heard[6]
    assert side.start == pytest.approx(10.04)
    assert announced == [True]
