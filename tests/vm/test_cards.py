"""Sound cards of many kinds, with the kernel's own drivers: each one opens, at a rate and in channels that it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest import Guest

MODELS = {"plain": "", "phone": "uda1341", "ac97": "ac97", "fast": "ca0106", "ten": "ice1712", "many": "rme9652"}
"""Cards of the driver snd-dummy, which has the limits of real ones: rates, channels, sample formats."""


@pytest.fixture(scope="module")
def opened(guest: Guest) -> Iterator[dict[str, dict[str, Any]]]:
    """Each side of each card, opened by the program's own code; what the kernel says of it meanwhile."""
    enable, models = ",".join("1" * len(MODELS)), ",".join(MODELS.values())
    guest.run(f"modprobe snd-dummy enable={enable} id={','.join(MODELS)} model={models}")
    guest.run("modprobe snd-aloop")
    guest.put(Path(__file__).with_name("open_cards.py"), "/run/open_cards.py")
    print(guest.run("cat /proc/asound/cards"))
    ids = guest.run("cat /sys/class/sound/card*/id").split()
    found: dict[str, dict[str, Any]] = json.loads(
        guest.run(f"cd /opt/source && /opt/venv/bin/python /run/open_cards.py {' '.join(ids)}", timeout=240)
    )
    for side, result in found.items():
        print(side, result)
    yield found
    guest.wait_for("modprobe -r snd-dummy snd-aloop")


def test_every_side_of_every_card_opens_and_runs(opened: dict[str, dict[str, Any]]) -> None:
    """Nine cards. The one side that is not there (the USB card cannot record) is said to be missing."""
    refused = {side: result["error"] for side, result in opened.items() if "error" in result}
    assert list(refused) == ["Audio in"], refused
    assert "has no input: choose another one" in refused["Audio in"]
    running = [result for result in opened.values() if "error" not in result]
    assert len(running) == 17
    for result in running:
        assert result["samples"] == result["rate"] // 10, result


@pytest.mark.parametrize(
    ("card", "rates", "channels", "formats"),
    [
        ("plain", {16_000, 48_000}, {1, 2}, {"S16_LE"}),
        ("phone", {16_000, 48_000}, {2}, {"S16_LE"}),
        ("ac97", {48_000}, {2}, {"S16_LE"}),
        ("fast", {48_000}, {2}, {"S16_LE"}),
        ("ten", {16_000, 48_000}, {10}, {"S32_LE"}),
        ("many", {16_000, 48_000}, {26}, {"S32_LE"}),
    ],
)
def test_the_kernel_runs_it_within_its_limits(
    opened: dict[str, dict[str, Any]], card: str, rates: set[int], channels: set[int], formats: set[str]
) -> None:
    """Rate, channels and sample format as /proc/asound shows them, and the program knows the rate that it has."""
    for side in ("in", "out"):
        result = opened[f"{card} {side}"]
        host = result["host"]
        assert int(host["rate"].split()[0]) == result["rate"]
        assert result["rate"] in rates
        assert int(host["channels"]) in channels
        assert host["format"] in formats
