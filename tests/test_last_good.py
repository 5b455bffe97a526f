"""No dark device: a wrong configuration never stops a service that has once been ready."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from device_agent.cli.footing import last_good
from device_agent.config.last_good import FILE_NAME, recall, remember
from device_agent.config.load import fingerprint, salvage
from device_agent.config.paths import Paths
from device_agent.config.schema import Agent, Audio, Panel, Settings
from device_agent.runtime.deadline import Deadline
from device_agent.supervisor import EXIT_AGAIN

WRONG = "[audio]\nvolume_maximum = 3\n"


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    """All of them, with every kind of value."""
    settings = Settings(
        agent=Agent(id="agent_1", first_message="", dynamic_variables={"a": 1, "b": ["x", True]}),
        audio=Audio(input=("USB", "/HD.*/")),
        panel=Panel(backend="mock", buttons={"red": {"pin": 5, "press": "stop"}}),
    )
    remember(tmp_path / FILE_NAME, settings)
    assert recall(tmp_path / FILE_NAME) == settings
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_unchanged_configuration_is_not_written_again(tmp_path: Path) -> None:
    """Memory cards wear out."""
    file = tmp_path / FILE_NAME
    remember(file, Settings())
    before = file.stat().st_ino
    remember(file, Settings())
    assert file.stat().st_ino == before
    remember(file, Settings(agent=Agent(id="x")))
    assert file.stat().st_ino != before


def test_what_cannot_be_kept_or_read_is_none(tmp_path: Path) -> None:
    """A directory that does not serve, a file that is missing or of another version: no reason to fail."""
    (tmp_path / "file").touch()
    remember(tmp_path / "file" / FILE_NAME, Settings())
    assert recall(tmp_path / FILE_NAME) is None
    (tmp_path / FILE_NAME).write_text(WRONG)
    assert recall(tmp_path / FILE_NAME) is None


def test_a_terminal_has_no_last_good() -> None:
    """There a person sees what is wrong, and the exit code is 78."""
    assert last_good({"STATE_DIRECTORY": "/var/lib/device-agent"}) is None
    both = {"STATE_DIRECTORY": "/var/lib/device-agent:/x", "NOTIFY_SOCKET": "/run/n"}
    assert last_good(both) == Path("/var/lib/device-agent") / FILE_NAME


class Service:
    """The started program, with a socket in systemd's place."""

    def __init__(self, home: Path, config: str) -> None:
        self.config = home / "config.toml"
        self.config.write_text(config)
        (home / "notify").unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(home / "notify"))
        self._notify.settimeout(20)
        self.environ: Mapping[str, str] = {
            **os.environ, "NOTIFY_SOCKET": str(home / "notify"), "STATE_DIRECTORY": str(home), "HOME": str(home),
            "RUNTIME_DIRECTORY": str(home / "run"),
        }  # fmt: skip
        # A port that nobody listens at: the device waits to try again.
        server = "server.url=ws://127.0.0.1:9"
        command = (sys.executable, "-m", "device_agent", "run", "--config", str(self.config), "--set", server)
        self.process = subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def says(self, text: str) -> str:
        """Wait until systemd is told this."""
        deadline = Deadline(20)
        while text not in (told := self._notify.recv(4096).decode()):
            assert not deadline.passed
        return told

    def status(self) -> dict[str, Any]:
        """What `device-agent status --json` prints; something must be wrong."""
        asked, deadline = (sys.executable, "-m", "device_agent", "status", "--json"), Deadline(10)
        while (done := subprocess.run(asked, env=self.environ, capture_output=True, check=False)).returncode == 69:
            assert not deadline.passed
        assert done.returncode == 1
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)
        self._notify.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Service]]:
    services: list[Service] = []
    yield services
    for service in services:
        service.end()


def test_a_wrong_configuration_starts_on_the_last_good_one(tmp_path: Path, started: list[Service]) -> None:
    """It gets ready, and status names what is wrong; the good one is kept."""
    remember(tmp_path / FILE_NAME, Settings(agent=Agent(id="agent_1")))
    service = Service(tmp_path, WRONG)
    started.append(service)
    service.says("READY=1")
    assert "volume_maximum" in service.status()["configuration"]
    kept = recall(tmp_path / FILE_NAME)
    assert kept is not None and kept.agent.id == "agent_1"


def test_a_key_file_that_cannot_be_used_stops_no_service(tmp_path: Path, started: list[Service]) -> None:
    """It gets ready, without the key; `status` names the file and the remedy. That is not a good configuration."""
    key = tmp_path / "key"
    key.write_text("sk_0123456789abcdef\n")
    key.chmod(0o644)
    service = Service(tmp_path, f'[agent]\nid = "agent_1"\n[server]\napi_key_file = "{key}"\n')
    started.append(service)
    service.says("READY=1")
    assert f"chmod 600 {key}" in service.status()["configuration"]
    assert recall(tmp_path / FILE_NAME) is None


def test_without_a_last_good_one_it_stands_until_a_file_changes(tmp_path: Path, started: list[Service]) -> None:
    """Systemd and whoever asks are told file and key. Mended, it ends for systemd to start it, and is ready."""
    service = Service(tmp_path, WRONG)
    started.append(service)
    assert f"{service.config}:2: unknown setting 'audio.volume_maximum'" in service.says("STATUS=config-error")
    shown = service.status()
    assert shown["state"] == "config-error"
    assert f"{service.config}:2: unknown setting 'audio.volume_maximum'" in shown["configuration"]
    assert service.process.poll() is None
    assert not (tmp_path / FILE_NAME).exists()
    service.config.write_text('[agent]\nid = "agent_1"\n')
    assert service.process.wait(20) == EXIT_AGAIN
    again = Service(tmp_path, service.config.read_text())
    started.append(again)
    again.says("READY=1")
    deadline = Deadline(20)
    while (kept := recall(tmp_path / FILE_NAME)) is None:
        assert not deadline.passed
    assert kept.agent.id == "agent_1"


def test_client_tools_that_cannot_be_loaded_stop_no_service(tmp_path: Path, started: list[Service]) -> None:
    """It gets ready without them, and says which file; that is not a good configuration."""
    tools = tmp_path / "tools.py"
    tools.write_text("import no_such_module\n")
    service = Service(tmp_path, f'[agent]\nid = "agent_1"\n[tools]\nfiles = ["{tools}"]\n')
    started.append(service)
    service.says("READY=1")
    assert "tools.py" in service.status()["configuration"]
    assert recall(tmp_path / FILE_NAME) is None


def test_what_shows_and_tells_is_salvaged(tmp_path: Path) -> None:
    """Pins, card and language of the sections that can be understood; no agent, and not what contradicts itself."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[agent]\nid = "agent_1"\n[audio]\noutput = "USB"\nvolumee = 3\n[sounds]\nlanguage = "de"\n'
        "[panel]\nbutton_pin = 17\nled_pin = 17\nmute_pin = 22\n"
    )
    found = salvage(Paths(tmp_path, tmp_path), {})
    assert (found.audio.output, found.sounds.language, found.agent.id) == (("USB",), "de", "")
    assert (found.panel.button_pin, found.panel.led_pin, found.panel.mute_pin) == (-1, -1, 22)
    file.write_text("[panel")
    assert salvage(Paths(tmp_path, tmp_path), {}) == Settings()


def test_a_change_of_any_file_is_seen(tmp_path: Path) -> None:
    """One that is written, taken away, or whose rights change; the rest of the directory does not count."""
    paths = Paths(tmp_path, tmp_path)
    (tmp_path / "conf.d").mkdir()
    seen = {fingerprint(paths)}
    steps: tuple[Callable[[], object], ...] = (
        lambda: (tmp_path / "config.toml").write_text(""),
        lambda: (tmp_path / "config.toml").chmod(0o600),
        lambda: (tmp_path / "conf.d" / "1.toml").write_text(""),
        lambda: (tmp_path / "conf.d" / "1.toml").unlink(),
    )
    for step in steps:
        step()
        assert fingerprint(paths) not in seen
        seen.add(fingerprint(paths))
    (tmp_path / "api-key").touch()
    assert fingerprint(paths) in seen
