"""`device-agent setup` asks, proves, stores, tries the sound and says what to type next."""

from __future__ import annotations

import argparse
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_agent.cli.setup import Outside, add_arguments, setup
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, read_secrets
from device_agent.errors import ConfigError, ServiceError

KEY = "sk_0123456789abcdefCANARY"


@dataclass
class World:
    """Answers like a person, and like a service that may refuse."""

    agent_id: str = "agent_1"
    key: str = KEY
    refusal: str = ""
    seen: list[str] = field(default_factory=list)

    def ask(self, _: str) -> str:
        return self.agent_id

    def ask_hidden(self, _: str) -> str:
        return self.key

    def prove(self, settings: Settings, secrets: Secrets) -> None:
        self.seen.append(f"prove {settings.agent.id} {settings.server.region} {secrets.api_key() == self.key}")
        if self.refusal:
            raise ServiceError(self.refusal)

    def play_back(self, settings: Settings) -> None:
        self.seen.append(f"play back {settings.audio.echo}")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "etc", tmp_path / "home")


def run(paths: Paths, world: World, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    outside = Outside(world.ask, world.ask_hidden, world.prove, world.play_back, {})
    return setup(parser.parse_args(arguments), paths, outside)


def test_setup_stores_what_the_service_has_accepted(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """Agent and region in the user's configuration, the key in a file of mode 0600, never on the screen."""
    world = World()
    assert run(paths, world, "--region", "eu", "--set", "audio.echo=off") == 0
    assert world.seen == ["prove agent_1 eu True", "play back off"]
    settings = load(paths, {}).settings
    assert (settings.agent.id, settings.server.region) == ("agent_1", "eu")
    assert read_secrets(settings, paths, {}).api_key() == KEY
    assert stat.S_IMODE(paths.api_key.stat().st_mode) == 0o600
    shown = capsys.readouterr().out
    assert shown.endswith("Now talk with it:\n  device-agent run --set audio.echo=off\n")
    assert "CANARY" not in shown


def test_nothing_is_stored_when_the_service_refuses(paths: Paths) -> None:
    """A wrong key, an unknown agent or no network leaves everything as it was."""
    with pytest.raises(ServiceError, match="no such agent"):
        run(paths, World(refusal="no such agent"))
    assert not paths.own.exists()


def test_a_public_agent_needs_no_key(paths: Paths) -> None:
    """An empty answer means no key: there is nothing to prove and none is stored; --agent-id answers in advance."""
    world = World(agent_id="", key="\n")
    assert run(paths, world, "--agent-id", "agent_2", "--no-audio") == 0
    assert world.seen == []
    assert load(paths, {}).settings.agent.id == "agent_2"
    assert not paths.api_key.exists()


def test_setup_needs_an_agent_id(paths: Paths) -> None:
    """An empty agent id is refused before the key is asked for."""
    with pytest.raises(ConfigError, match="no agent id: the ElevenLabs dashboard shows it"):
        run(paths, World(agent_id=" "))


def test_a_key_given_as_the_agent_s_id_is_refused(paths: Paths) -> None:
    """Whoever pastes the key at the first question is told so, and it is neither shown nor stored."""
    with pytest.raises(ConfigError, match="looks like a secret") as caught:
        run(paths, World(agent_id=KEY))
    assert "CANARY" not in str(caught.value)
    assert not paths.own.exists()


def test_a_named_file_is_where_setup_writes(paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --config FILE the agent's id goes there, and the printed line names it."""
    file = tmp_path / "mine.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    named = Paths(paths.system, paths.own, file)
    assert run(named, World(), "--config", str(file)) == 0
    assert file.read_text() == "[log]\nlevel = 'debug'\n\n[agent]\nid = \"agent_1\"\n"
    assert capsys.readouterr().out.endswith(f"device-agent run --config {file}\n")


def test_without_a_terminal_the_agent_must_be_named() -> None:
    """From a script nobody can be asked: one line says what is missing (exit code 64)."""
    command = [sys.executable, "-m", "device_agent", "setup", "--no-audio"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.returncode == 64
    assert done.stderr == (
        "device-agent: without a terminal, setup needs --agent-id, and the key as one line on standard input\n"
    )
