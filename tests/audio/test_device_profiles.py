"""Each ready-made profile as a process against the simulator: what opens it is done to it, and the server hears it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from rig import SILENT_AGENT

from device_agent.bench.demo import Simulator
from device_agent.config.paths import profiles
from device_agent.control.client import Client
from device_agent.errors import DeviceAgentError
from tests.patience import until

CHILD = Path(__file__).with_name("stamped_device.py")
OPENS = {
    "button-and-led": "low 17",
    "respeaker-2mic": "low 17\nhigh 17",  # held, it would be another gesture
    "speakerphone-wake-word": "wake word",
    "push-to-talk-intercom": "low 17",
    "kiosk": "high 4",
    "always-on-booth": "",
}


@pytest.mark.parametrize("profile", sorted(OPENS))
def test_each_profile_holds_a_conversation(profile: str, tmp_path: Path) -> None:
    """Nothing connects before what opens it (sabotage: nothing is done, nothing comes); then the server gets audio."""
    socket = tmp_path / "control.sock"
    with Simulator(tmp_path / "heard.wav", *SILENT_AGENT, "--allow-override", "language") as simulator:
        settings = (f"profile={profile}", "agent.id=a", f"server.url={simulator.url}", "panel.backend=mock",
                    "session.hours=[]", "sounds.earcons=false", "sounds.speech=false")  # fmt: skip
        command = (sys.executable, str(CHILD), str(time.monotonic()), str(socket), "0", *settings)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        assert process.stdin is not None
        try:
            until(socket.exists, 10, "the device listens")
            with Client(socket) as device:
                if OPENS[profile]:
                    with pytest.raises(DeviceAgentError, match="did not see connected"):
                        simulator.wait("connected", timeout=1.0)
                    assert device.ask("status")["state"] == "idle"
                    process.stdin.write(OPENS[profile] + "\n")
                    process.stdin.flush()
                simulator.wait("audio", timeout=20)
                assert device.ask("status")["link"] == "ready"
            assert simulator.of_kind("violation") == []
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_no_profile_is_left_out() -> None:
    """A new one needs a line here."""
    assert set(OPENS) == set(profiles())
