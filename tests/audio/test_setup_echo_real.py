"""`device-agent setup echo` on real sound cards, as a person starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from test_device_self_check import looped

from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from tests.analysis import RATE, noise


@pytest.mark.parametrize("loop", [True, False], ids=("looped", "not looped"))
def test_setup_echo_measures_the_room(cards: VirtualCards, tmp_path: Path, loop: bool) -> None:
    """A loudspeaker beside the microphone: delay, level and advice, stored. Sabotage: without the loop, none of it."""
    config = tmp_path / "device.toml"
    config.write_text('[audio]\necho = "off"\n')
    command = (sys.executable, "-m", "device_agent", "setup", "echo", "--write", "--config", str(config))
    with Recorder(cards) as speaker, Microphone(cards) as microphone, looped(cards) if loop else nullcontext():
        microphone.say(noise(12.0, RATE, dbfs=-60.0).tobytes())
        environ = {**os.environ, **cards.environ}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
        played = speaker.samples()
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert max(played) > 3000  # the loudspeaker's own witness: it did play
    delay = re.search(r"delay +(\d+) ms", done.stdout)
    assert (delay is not None) == loop
    if delay:
        assert 20 <= int(delay[1]) <= 300
    assert ("does not hear the loudspeaker" in done.stdout) == (not loop)
    assert ('echo = "off"' in config.read_text()) == (not loop)
