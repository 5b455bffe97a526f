"""Secrets come from private files only, and nothing shows them."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from device_agent.config.paths import Paths
from device_agent.config.schema import Server, Settings
from device_agent.config.secrets import Secrets, check_secret, looks_like_secret, read_secrets, redacted
from device_agent.errors import ConfigError, PermissionDenied

CANARY = "sk_0123456789abcdefCANARY"


def private(file: Path, text: str = CANARY, mode: int = 0o600) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "etc", tmp_path / "home")


def test_nothing_shows_a_secret() -> None:
    """repr, str, format and percent show no secret; the object cannot be pickled or copied, and has no `__dict__`."""
    secrets = Secrets(CANARY, "CANARY-token")
    for shown in (repr(secrets), str(secrets), f"{secrets}", f"{[secrets]!r}", "%s" % secrets):  # noqa: UP031
        assert "CANARY" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secrets)
    with pytest.raises(TypeError):
        copy.deepcopy(secrets)
    assert not hasattr(secrets, "__dict__")
    assert (secrets.api_key(), secrets.broker_token()) == (CANARY, "CANARY-token")


def test_without_any_file_there_is_no_secret(paths: Paths) -> None:
    """No credential, no file: no key, no token; environment variables are not looked at."""
    secrets = read_secrets(Settings(), paths, {"ELEVENLABS_API_KEY": CANARY, "DEVICE_AGENT_SERVER_API_KEY": CANARY})
    assert (secrets.api_key(), secrets.broker_token()) == (None, None)


def test_a_credential_goes_before_a_named_file_and_that_before_the_stored_key(paths: Paths, tmp_path: Path) -> None:
    """systemd's credential, then the file that the settings name, then what setup stored."""
    credentials = tmp_path / "credentials"
    private(paths.api_key, "stored\n")
    assert read_secrets(Settings(), paths, {}).api_key() == "stored"
    named = Settings(server=Server(api_key_file=str(private(tmp_path / "named", "named"))))
    assert read_secrets(named, paths, {}).api_key() == "named"
    private(credentials / "elevenlabs-api-key", "credential", 0o440)
    private(credentials / "broker-token", "token", 0o440)
    secrets = read_secrets(named, paths, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert (secrets.api_key(), secrets.broker_token()) == ("credential", "token")


def test_a_broker_token_may_live_in_a_named_file(paths: Paths, tmp_path: Path) -> None:
    """server.broker_token_file names the token's file."""
    named = Settings(server=Server(broker_token_file=str(private(tmp_path / "token", "tok"))))
    assert read_secrets(named, paths, {}).broker_token() == "tok"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused_with_the_command_to_type(paths: Paths, mode: int) -> None:
    """The message is the remedy, exit code 77."""
    private(paths.api_key, mode=mode)
    with pytest.raises(PermissionDenied) as caught:
        read_secrets(Settings(), paths, {})
    assert str(caught.value) == f"{paths.api_key} can be read by others; type: chmod 600 {paths.api_key}"
    assert caught.value.exit_code == 77


@pytest.mark.parametrize("text", ["", "\n", f"{CANARY} two", f"{CANARY}\nline", f"{CANARY}é", "\x00" * 5000])
def test_a_file_without_a_key_is_refused_without_showing_it(paths: Paths, text: str) -> None:
    """A key is one line of printable ASCII: it becomes an HTTP header."""
    private(paths.api_key, text)
    with pytest.raises(ConfigError) as caught:
        read_secrets(Settings(), paths, {})
    assert str(caught.value) == f"{paths.api_key} does not hold one line of printable ASCII, as a key or token is"


def test_a_named_file_must_exist_and_be_a_file(paths: Paths, tmp_path: Path) -> None:
    """A missing file, a directory and a FIFO are refused at once, by name."""
    with pytest.raises(ConfigError, match=r"server\.api_key_file names /nix, which does not exist"):
        read_secrets(Settings(server=Server(api_key_file="/nix")), paths, {})
    os.mkfifo(tmp_path / "fifo")
    for name in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_secrets(Settings(server=Server(api_key_file=str(name))), paths, {})


def test_what_looks_like_a_key_is_taken_out_of_texts() -> None:
    """`redacted` is the last guard before a person reads a message."""
    assert redacted(f"bad option --key={CANARY}!") == "bad option --key=sk_…!"
    assert looks_like_secret(CANARY)
    assert not looks_like_secret("disk_0123456789")
    assert check_secret(f" {CANARY}\n", "the input") == CANARY
