"""Where the next conversation is, and the right to it: public agent, API key or broker."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import SplitResult, urlencode, urlsplit

from device_agent.config.endpoints import https_url, server_url
from device_agent.config.schema import Settings
from device_agent.errors import ConfigError
from device_agent.link.dial import Dialer
from device_agent.link.signed_url import fetch
from device_agent.link.waiting import Attempt

_PATH = "/v1/convai/conversation"


class SecretStore(Protocol):
    """What the link needs of `config.secrets.Secrets`."""

    def api_key(self) -> str | None: ...

    def broker_token(self) -> str | None: ...


def check_access(settings: Settings, secrets: SecretStore) -> str:
    """How this device proves its right: broker, key or public. `ConfigError`, naming thing and remedy, if it cannot."""
    method = _method(settings, secrets)
    if method == "broker":
        if not settings.server.broker_url:
            raise ConfigError(
                'server.auth is "broker" and server.broker_url is not set: set it to your broker\'s address'
            )
        if not secrets.broker_token():
            raise ConfigError(
                "there is no token for the broker: set server.broker_token_file to a file (mode 0600) with it"
            )
    elif not settings.agent.id:
        raise ConfigError("agent.id is not set: run `device-agent setup`, or add --set agent.id=agent_…")
    elif method == "key" and not secrets.api_key():
        raise ConfigError('server.auth is "key" and there is no API key: run `device-agent setup`')
    return method


def conversation_url(settings: Settings, secrets: SecretStore, dialer: Dialer, attempt: Attempt) -> SplitResult:
    """The address of one conversation; a signed one is fetched anew each time and is a secret.

    Raises `ConfigError` if it cannot even be tried, else what `fetch` does.
    """
    match check_access(settings, secrets):
        case "broker":
            return _from_broker(settings, secrets, dialer, attempt)
        case "key":
            return _from_key(settings, secrets, dialer, attempt)
    return urlsplit(f"{server_url(settings)}{_PATH}?{urlencode({'agent_id': settings.agent.id})}")


def _method(settings: Settings, secrets: SecretStore) -> str:
    server = settings.server
    if server.auth != "auto":
        return server.auth
    return "broker" if server.broker_url else "key" if secrets.api_key() else "public"


def _from_key(settings: Settings, secrets: SecretStore, dialer: Dialer, attempt: Attempt) -> SplitResult:
    agent = settings.agent
    query = {"agent_id": agent.id, "environment": agent.environment, "branch_id": agent.branch_id}
    given = {name: value for name, value in query.items() if value}
    url = urlsplit(f"{https_url(settings)}{_PATH}/get-signed-url?{urlencode(given)}")
    return fetch(url, ("xi-api-key", secrets.api_key() or ""), dialer, attempt)


def _from_broker(settings: Settings, secrets: SecretStore, dialer: Dialer, attempt: Attempt) -> SplitResult:
    url = urlsplit(settings.server.broker_url)
    return fetch(url, ("Authorization", f"Bearer {secrets.broker_token()}"), dialer, attempt)
