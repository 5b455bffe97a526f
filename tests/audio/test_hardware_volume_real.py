"""The volume as the sound server's own control, set by the running product; the witness is the server."""

from __future__ import annotations

import os
import re
import subprocess

from rig import SILENT_AGENT, TALK, call

from device_agent.bench.virtual_audio import VirtualCards
from tests.patience import until


def sink_volume(cards: VirtualCards) -> int:
    """Percent, of the card that the mixer's control belongs to."""
    environ = {**os.environ, **cards.environ}
    said = subprocess.run(
        ("pactl", "get-sink-volume", "@DEFAULT_SINK@"), env=environ, capture_output=True, text=True, check=True
    )
    return int(re.search(r"(\d+)%", said.stdout)[1])  # type: ignore[index]


def test_the_card_makes_the_volume(cards: VirtualCards) -> None:
    """At the start the control is where the configuration wants it; a name that no card has is said, with amixer's
    words, and software does it."""
    assert sink_volume(cards) == 100
    with call(cards, *TALK, "audio.mixer=Master", "audio.volume=40", options=SILENT_AGENT) as run:
        run.ready()
        until(lambda: 5 < sink_volume(cards) < 95, 5, "the control moves")
        print(f"40 → {sink_volume(cards)} %")
    with call(cards, *TALK, "audio.mixer=Master", options=SILENT_AGENT) as run:
        until(lambda: sink_volume(cards) == 100, 5, "the control moves back")
    with call(cards, *TALK, "audio.mixer=Nobody", "audio.volume=40", options=SILENT_AGENT) as run:
        run.says("mixer-failed control='Nobody' reason=\"amixer: Unable to find simple control 'Nobody',0\"")
        assert sink_volume(cards) == 100
