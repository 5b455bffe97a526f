"""The configuration as text: the shipped defaults, what `config show` prints, what setup writes, the hosts."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from device_agent.config.edit import store, store_settings
from device_agent.config.endpoints import https_url, server_url
from device_agent.config.load import load
from device_agent.config.options import options
from device_agent.config.paths import Paths
from device_agent.config.render import annotated, as_json, effective, to_toml
from device_agent.config.schema import Server, Settings
from device_agent.errors import ConfigError

SHIPPED = Path(__file__).parent.parent / "config" / "device-agent.toml"


def test_the_shipped_defaults_are_current() -> None:
    """`python -m device_agent.config.render > config/device-agent.toml` brings them up to date."""
    assert SHIPPED.read_text("utf-8") == annotated()


def test_the_shipped_defaults_with_their_comment_signs_removed_are_the_defaults(tmp_path: Path) -> None:
    """Each commented setting is valid TOML and says the schema's default (an unset text aside)."""
    text = "\n".join(line.removeprefix("#") if not line.startswith("# ") else "" for line in annotated().splitlines())
    (tmp_path / "config.toml").write_text(text.replace('first_message = ""', ""))
    loaded = load(Paths(tmp_path, tmp_path), {})
    assert loaded.settings == Settings()
    assert {name for name, origin in loaded.origins.items() if origin == "default"} == {"agent.first_message"}


def test_every_setting_has_a_help_text() -> None:
    """A setting that nobody explains is not shipped."""
    assert all(option.help.endswith(".") for option in options().values())


@pytest.mark.parametrize(
    "value",
    [True, 3, 2.5, 1e30, 'a "b" \\ \n\t\x01\x7f é 😀', (), ("a", "b"), {}, {"a b": {"c": [1, {"d": False}]}}],
)
def test_a_written_value_is_read_back_the_same(value: object) -> None:
    """`to_toml` and tomllib agree."""
    expected = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(f"x = {to_toml(value)}")["x"] == expected


def test_effective_settings_can_be_fed_back(tmp_path: Path) -> None:
    """What `config show` prints is a configuration file with the same meaning; origins stand behind as comments."""
    paths = Paths(tmp_path, tmp_path)
    loaded = load(paths, {}, ["agent.overrides={tts={speed=1.1}}", "agent.first_message=Hi", "tools.files=/a.py,/b.py"])
    (tmp_path / "config.toml").write_text(effective(loaded.settings, loaded.origins))
    assert load(paths, {}).settings == loaded.settings
    assert 'first_message = "Hi"  # --set' in effective(loaded.settings, loaded.origins).splitlines()
    assert json.loads(as_json(loaded.settings))["agent.first_message"] == "Hi"
    assert json.loads(as_json(loaded.settings, loaded.origins))["gate.onset"] == {"value": 5, "origin": "default"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[agent]\nid = "new"\n'),
        ("# mine\n[log]\nlevel = 'debug'\n", "# mine\n[log]\nlevel = 'debug'\n\n[agent]\nid = \"new\"\n"),
        ("[agent] # who\n  id = 'old' # it\nprompt = 'p'\n", "[agent] # who\nid = \"new\"\nprompt = 'p'\n"),
        ("[agent]\nprompt = 'p'\n[log]\nid = 1\n", "[agent]\nid = \"new\"\nprompt = 'p'\n[log]\nid = 1\n"),
    ],
)
def test_setup_changes_only_its_own_lines(tmp_path: Path, before: str, after: str) -> None:
    """Comments, order and other settings stay; a missing section or file is added."""
    file = tmp_path / "new" / "config.toml"
    if before:
        store(file, before, 0o640)
    store_settings(file, {"agent.id": "new"})
    assert file.read_text() == after
    assert stat.S_IMODE(file.stat().st_mode) == (0o640 if before else 0o644)


@pytest.mark.parametrize("before", ["agent.id = 'old'\n", "agent = {id = 'old'}\n", "[agent]\nid = '''a\nb'''\n"])
def test_a_file_that_cannot_be_edited_safely_is_left_alone(tmp_path: Path, before: str) -> None:
    """The message says what to write by hand."""
    file = tmp_path / "config.toml"
    file.write_text(before)
    with pytest.raises(ConfigError, match=r'please set there yourself: agent[.]id = "new"'):
        store_settings(file, {"agent.id": "new"})
    assert file.read_text() == before


def test_storing_keeps_links_and_reports_what_cannot_be_written(tmp_path: Path) -> None:
    """A symbolic link stays one; a place that cannot be written is named."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    store(link, "text", 0o600)
    assert link.is_symlink()
    assert (tmp_path / "target").read_text() == "text"
    with pytest.raises(ConfigError, match="cannot be written: File exists"):
        store(tmp_path / "target" / "below", "text", 0o600)


@pytest.mark.parametrize(
    ("server", "websocket", "rest"),
    [
        (Server(), "wss://api.elevenlabs.io", "https://api.elevenlabs.io"),
        (Server(region="us"), "wss://api.us.elevenlabs.io", "https://api.us.elevenlabs.io"),
        (Server(region="eu"), "wss://api.eu.residency.elevenlabs.io", "https://api.eu.residency.elevenlabs.io"),
        (Server(region="in"), "wss://api.in.residency.elevenlabs.io", "https://api.in.residency.elevenlabs.io"),
        (Server(region="sg"), "wss://api.sg.residency.elevenlabs.io", "https://api.sg.residency.elevenlabs.io"),
        (Server(url="https://proxy.example:8443/"), "wss://proxy.example:8443", "https://proxy.example:8443"),
        (Server(url="ws://127.0.0.1:8000"), "ws://127.0.0.1:8000", "http://127.0.0.1:8000"),
        (Server(url="http://[::1]:8000"), "ws://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_one_host_serves_the_socket_and_the_rest_calls(server: Server, websocket: str, rest: str) -> None:
    """The region decides, or the address that is set; plain stays plain."""
    settings = Settings(server=server)
    assert (server_url(settings), https_url(settings)) == (websocket, rest)
