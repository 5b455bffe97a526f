"""The API key and the broker's token: where they may live, and the one object that holds them.

They come from a systemd credential or from a file that only its owner can read; never from TOML, the command line or
an environment variable, which children inherit and `/proc` shows.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.errors import ConfigError, PermissionDenied

API_KEY_CREDENTIAL = "elevenlabs-api-key"
BROKER_TOKEN_CREDENTIAL = "broker-token"
_MAX_BYTES = 4096
_KEY_SHAPE = re.compile(r"\bsk_[0-9A-Za-z]{8,}")


class Secrets:
    """Holds the secrets. No way of printing, copying or storing this object shows them."""

    __slots__ = ("__api_key", "__broker_token")

    def __init__(self, api_key: str | None = None, broker_token: str | None = None) -> None:
        self.__api_key = api_key
        self.__broker_token = broker_token

    def api_key(self) -> str | None:
        """The ElevenLabs API key, if there is one."""
        return self.__api_key

    def broker_token(self) -> str | None:
        """This device's token for the broker, if there is one."""
        return self.__broker_token

    def __repr__(self) -> str:
        return "Secrets(…)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("secrets are not copied or stored")


def read_secrets(settings: Settings, paths: Paths, environ: Mapping[str, str]) -> Secrets:
    """Read all secrets once. Raises `PermissionDenied` for a file that others can read, else `ConfigError`."""
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    server = settings.server
    return Secrets(
        api_key=_credential(credentials, API_KEY_CREDENTIAL)
        or _named("server.api_key_file", server.api_key_file)
        or _private_text(paths.api_key),
        broker_token=_credential(credentials, BROKER_TOKEN_CREDENTIAL)
        or _named("server.broker_token_file", server.broker_token_file),
    )


def looks_like_secret(text: str) -> bool:
    """Whether the text contains what looks like an ElevenLabs API key."""
    return _KEY_SHAPE.search(text) is not None


def redacted(text: str) -> str:
    """The text without what looks like an API key."""
    return _KEY_SHAPE.sub("sk_…", text)


def check_secret(text: str, holder: str) -> str:
    """The secret without surrounding space; `ConfigError` names its holder if it cannot be sent in an HTTP header."""
    secret = text.strip()
    if not secret or not all("!" <= letter <= "~" for letter in secret):
        raise ConfigError(f"{holder} does not hold one line of printable ASCII, as a key or token is")
    return secret


def _credential(directory: str, name: str) -> str | None:
    # systemd guards this directory itself, and grants access by an ACL, which shows as a group's right in the mode.
    return _private_text(Path(directory, name), guarded=True) if directory else None


def _named(option: str, file: str) -> str | None:
    if not file:
        return None
    secret = _private_text(Path(file))
    if secret is None:
        raise ConfigError(f"{option} names {file}, which does not exist")
    return secret


def _private_text(file: Path, guarded: bool = False) -> str | None:
    """The secret in the file, or None where there is no such file."""
    try:
        # Non-blocking, because opening a FIFO without a writer would wait for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise PermissionDenied(f"{file} cannot be read: it must belong to the user that runs this") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{file} is not a regular file")
        if not guarded and status.st_mode & 0o077:
            raise PermissionDenied(f"{file} can be read by others; type: chmod 600 {shlex.quote(str(file))}")
        content = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    return check_secret(content.decode("ascii", "replace"), str(file))
