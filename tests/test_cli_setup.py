"""`device-agent setup` asks, proves, stores, tries the sound and says what to type next."""

from __future__ import annotations

import argparse
import os
import pty
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_agent.audio.hardware import Machine
from device_agent.cli.setup import Outside, add_arguments, set_control, setup
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, read_secrets
from device_agent.errors import AudioError, ConfigError, ServiceError, UsageError
from device_agent.setup.credentials import systemd_creds

KEY = "sk_0123456789abcdefCANARY"


@dataclass
class World:
    """Answers like a person, and like a service that may refuse."""

    agent_id: str = "agent_1"
    key: str = KEY
    refusal: str = ""
    seen: list[str] = field(default_factory=list)
    systemd: bool = False
    creds: bool = False
    root: Path = Path("/nowhere")
    silent: str = ""

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
        if self.silent:
            raise AudioError(self.silent)

    def systemctl(self, *words: str) -> bool:
        self.seen.append(" ".join(words))
        return self.systemd

    def encrypt(self, name: str, secret: str, target: Path) -> bool:
        if self.creds:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{name}: {secret[::-1]}")
        return self.creds

    def mixer(self, card: str, control: str, value: str) -> bool:
        self.seen.append(f"{card}: {control} = {value}")
        return control != "Playback"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "etc", tmp_path / "home")


def run(paths: Paths, world: World, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    sound = world.prove, world.play_back
    machine = world.systemctl, world.mixer, world.root, world.encrypt
    outside = Outside(world.ask, world.ask_hidden, *sound, {}, *machine)
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


@pytest.fixture
def service(tmp_path: Path) -> Paths:
    """Root's places: the service's."""
    return Paths(tmp_path / "etc" / "device-agent", tmp_path / "etc" / "device-agent")


def test_root_sets_up_the_service(service: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """The key becomes its credential, the answers a file of their own in conf.d, and it is enabled and started."""
    world = World(systemd=True)
    assert run(service, world, "--no-audio") == 0
    key = service.system.parent / "credstore" / "elevenlabs-api-key"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == (f"{KEY}\n", 0o600)
    assert "agent_1" in (service.system / "conf.d" / "50-setup.toml").read_text()
    assert not (service.system / "config.toml").exists()
    assert load(service, {}).settings.agent.id == "agent_1"
    assert world.seen[1:] == ["daemon-reload", "enable device-agent.service", "restart device-agent.service"]
    assert "device-agent status" in capsys.readouterr().out


def test_a_service_that_runs_leaves_its_cards_to_the_sound_check(service: Paths) -> None:
    """And is started with its new settings, though the check has failed: it shows and says what is wrong."""
    steps = [
        "stop device-agent.service",
        "play back auto",
        "enable device-agent.service",
        "restart device-agent.service",
    ]
    world = World(systemd=True)
    assert run(service, world) == 0
    assert world.seen[-4:] == steps
    world = World(systemd=True, silent="no microphone: plug one in")
    with pytest.raises(AudioError, match="plug one in"):
        run(service, world)
    assert world.seen[-4:] == steps


def test_where_systemd_can_the_key_is_encrypted_for_the_machine(
    service: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """The unit is told by a drop-in, and no plain file is left; a machine that can no longer do so goes back."""
    etc = service.system.parent
    plain, closed = (etc / folder / "elevenlabs-api-key" for folder in ("credstore", "credstore.encrypted"))
    dropin = etc / "systemd/system/device-agent.service.d/50-setup.conf"
    assert run(service, World(systemd=True), "--no-audio") == 0
    assert plain.exists()
    assert run(service, World(systemd=True, creds=True), "--no-audio") == 0
    assert "encrypted for this machine" in capsys.readouterr().out
    assert (plain.exists(), closed.read_text()) == (False, f"elevenlabs-api-key: {KEY[::-1]}")
    assert dropin.read_text().splitlines()[1:] == [
        "[Service]", "LoadCredential=", "LoadCredentialEncrypted=elevenlabs-api-key"
    ]  # fmt: skip
    assert run(service, World(systemd=True), "--no-audio") == 0
    assert (plain.exists(), closed.exists(), dropin.exists()) == (True, False, False)


def test_systemds_own_tool_encrypts_it(tmp_path: Path) -> None:
    """The key goes in by standard input, never as an argument; without the tool, or if it refuses, nothing is kept."""
    target = tmp_path / "credstore.encrypted" / "key"
    tool = tmp_path / "systemd-creds"
    assert not systemd_creds("elevenlabs-api-key", KEY, target, str(tool))
    tool.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/arguments\nread -r key\necho "closed: $key"\n')
    tool.chmod(0o755)
    assert systemd_creds("elevenlabs-api-key", KEY, target, str(tool))
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == (f"closed: {KEY}\n", 0o600)
    assert (tmp_path / "arguments").read_text() == "encrypt --name=elevenlabs-api-key - -\n"
    tool.write_text("#!/bin/sh\necho half\nexit 1\n")
    assert not systemd_creds("elevenlabs-api-key", KEY, target, str(tool))


def test_without_systemd_root_is_told_how_to_run_it(service: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a container."""
    assert run(service, World(), "--no-audio") == 0
    assert "device-agent run" in capsys.readouterr().out


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    overlays = tmp_path / "root" / "boot" / "firmware" / "overlays"
    overlays.mkdir(parents=True)
    (overlays / "respeaker-2mic-v1_0.dtbo").touch()
    (overlays.parent / "config.txt").write_text("dtparam=audio=on\n")
    return tmp_path / "root"


BOARD = ("--board", "respeaker-2mic-v1", "--no-audio")


def test_a_board_needs_a_reboot_and_then_setup_goes_on(
    service: Paths, pi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First the boot configuration, shown before it is changed; the second time the mixer, and all the rest."""
    world = World(agent_id="yes", root=pi)
    assert run(service, world, *BOARD) == 0
    said = capsys.readouterr().out
    assert "dtoverlay=respeaker-2mic-v1_0" in said and "reboot" in said
    assert world.seen == []
    world.agent_id = "agent_1"
    assert run(service, world, *BOARD) == 0
    assert "seeed: Capture = 75%" in world.seen
    assert "no control 'Playback'" in capsys.readouterr().out
    settings = load(service, {}).settings
    assert (settings.agent.id, settings.panel.button_pin) == ("agent_1", 17)
    assert settings.audio.input == settings.audio.output == ("seeed", "wm8960")


def test_nothing_is_changed_without_a_yes(service: Paths, pi: Path) -> None:
    """Whoever does not want it gets out with the file as it was; --yes asks nothing."""
    with pytest.raises(UsageError, match="nothing was changed"):
        run(service, World(agent_id="n", root=pi), *BOARD)
    assert (pi / "boot" / "firmware" / "config.txt").read_text() == "dtparam=audio=on\n"
    assert not service.system.exists()
    assert run(service, World(agent_id="n", root=pi), *BOARD, "--yes") == 0


def test_ctrl_d_at_a_question_of_a_part_is_one_line() -> None:
    """As in the rest of setup."""
    program = (
        "import sys; from gpiozero import Device; from gpiozero.pins.mock import MockFactory;"
        "Device.pin_factory = MockFactory(); from device_agent.__main__ import main;"
        "sys.exit(main(['setup', 'wiring', '--set', 'panel.led_pin=22']))"
    )
    person, terminal = pty.openpty()
    os.write(person, b"\x04")
    done = subprocess.run((sys.executable, "-c", program), stdin=terminal, capture_output=True, text=True)
    os.close(person)
    os.close(terminal)
    assert (done.returncode, done.stderr) == (64, "device-agent: setup needs an answer\n")


def test_without_amixer_no_control_is_set_and_nothing_breaks(tmp_path: Path) -> None:
    """The package only recommends it."""
    (tmp_path / "proc" / "asound").mkdir(parents=True)
    (tmp_path / "proc" / "asound" / "cards").write_text(" 1 [seeed2micvoicec]: simple-card - seeed-2mic-voicecard\n")
    machine = Machine(tmp_path)
    assert set_control("seeed", "Capture", "75%", machine, "true")
    assert not set_control("seeed", "Capture", "75%", machine, str(tmp_path / "no-amixer"))
    assert not set_control("other", "Capture", "75%", machine, "true")


def test_a_usb_card_needs_no_boot_configuration(service: Paths) -> None:
    """Also where there is none."""
    assert run(service, World(), "--board", "usb", "--no-audio") == 0
