"""The HTTP face: signed URLs, and who may upgrade. Pure but for the clock and the randomness it is given."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from device_agent.config.endpoints import is_loopback
from device_agent.simulator.faults import Refusal
from device_agent.simulator.options import OPTIONAL_EVENTS, Options

SOCKET_PATH = "/v1/convai/conversation"
SIGNED_URL_PATH = f"{SOCKET_PATH}/get-signed-url"
AGENTS_PATH = "/v1/convai/agents/"
_VALID_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response with a JSON body."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Signature:
    agent_id: str
    expires: float
    single_use: bool


def _error(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps({"detail": {"status": name, "message": message}}), headers or {})


class Doorman:
    """Answers HTTP requests and decides on upgrades.

    Called by many connection threads. Its dictionary is only touched by single operations, which are atomic.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._signatures: dict[str, _Signature] = {}
        self._refused = 0

    def answer(self, target: str, headers: Mapping[str, str], host: str, now: float) -> Reply | None:
        """The response to a request for `target`, or None where the upgrade may go on."""
        path, query = urlsplit(target).path, {k: v[-1] for k, v in parse_qs(urlsplit(target).query).items()}
        if path == SIGNED_URL_PATH:
            return self._refuse(on_url=True) or self._sign(query, headers.get("xi-api-key", ""), host, now)
        if path.startswith(AGENTS_PATH):
            return self._settings(path.removeprefix(AGENTS_PATH), headers.get("xi-api-key", ""))
        if path == SOCKET_PATH:
            return self._refuse(on_url=False) or self._admit(query, now)
        return _error(404, "not_found", f"No such path: {path}")

    def violations(self, headers: Mapping[str, str]) -> list[str]:
        """What a device should not have put into its upgrade request."""
        found = []
        if "origin" in headers and not self._options.allow_origin:
            found.append(f"Origin on the upgrade: {headers['origin']}")
        if "xi-api-key" in headers and not self._options.allow_key_header:
            found.append("xi-api-key on the upgrade")
        return found

    def _refuse(self, on_url: bool) -> Reply | None:
        refusals = [r for r in self._options.refuse if r.on_url == on_url]
        if not refusals or (self._options.faulty and self._refused >= self._options.faulty):
            return None
        refusal: Refusal = refusals[min(self._refused, len(refusals) - 1)]
        self._refused += 1
        after = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
        return _error(refusal.status, "refused", "Refused by the simulator", after)

    def _settings(self, agent_id: str, key: str) -> Reply:
        """What an API key may know of the agent: as much of it as clients ask for."""
        if not self._right(key):
            return _error(401, "invalid_api_key", "Invalid API key")
        if not self._known(agent_id):
            return _error(404, "agent_not_found", f"Agent {agent_id} not found")
        events = ["audio", *(event for event in OPTIONAL_EVENTS if event not in self._options.without)]
        may = {name: name in self._options.allow_override for name in ("first_message", "language", "prompt")}
        agent = {**may, "prompt": {"prompt": may["prompt"]}}
        permits = {"agent": agent, "tts": {"voice_id": "voice_id" in self._options.allow_override}}
        document = {
            "agent_id": agent_id,
            "conversation_config": {"conversation": {"client_events": events}},
            "platform_settings": {"overrides": {"conversation_config_override": permits}},
        }
        return Reply(200, json.dumps(document))

    def _right(self, key: str) -> bool:
        wanted = self._options.require_key
        return bool(key) and (not wanted or secrets.compare_digest(key, wanted))

    def _sign(self, query: Mapping[str, str], key: str, host: str, now: float) -> Reply:
        if not self._right(key):
            return _error(401, "invalid_api_key", "Invalid API key")
        agent_id = query.get("agent_id", "")
        if not agent_id:
            return Reply(422, json.dumps({"detail": [{"loc": ["query", "agent_id"], "msg": "Field required"}]}))
        if not self._known(agent_id):
            return _error(404, "agent_not_found", f"Agent {agent_id} not found")
        signature = f"cvtkn_{secrets.token_hex(12)}"
        single = query.get("include_conversation_id", "").lower() == "true"
        self._signatures[signature] = _Signature(agent_id, now + _VALID_S, single)
        scheme = "ws" if is_loopback(urlsplit(f"//{host}")) else "wss"  # from elsewhere only through somebody's TLS
        url = f"{scheme}://{host}{SOCKET_PATH}?{urlencode({'agent_id': agent_id, 'conversation_signature': signature})}"
        return Reply(200, json.dumps({"signed_url": url}))

    def _admit(self, query: Mapping[str, str], now: float) -> Reply | None:
        agent_id, signature = query.get("agent_id", ""), query.get("conversation_signature", "")
        if not agent_id:
            return _error(422, "missing_agent_id", "agent_id is required")
        if not self._known(agent_id):
            return _error(404, "agent_not_found", f"Agent {agent_id} not found")
        if signature:
            return self._check(agent_id, signature, now)
        if self._options.require_key:
            return _error(401, "unauthorized", "This agent needs a signed URL")
        return None

    def _check(self, agent_id: str, signature: str, now: float) -> Reply | None:
        known = self._signatures.get(signature)
        if known is None or known.agent_id != agent_id or now > known.expires:
            return _error(403, "invalid_signature", "The signed URL is wrong or has expired")
        # Taking it out is one atomic step: of two connections with one single-use URL, one gets nothing.
        if known.single_use and self._signatures.pop(signature, None) is None:
            return _error(403, "invalid_signature", "The signed URL was used already")
        return None

    def _known(self, agent_id: str) -> bool:
        return not self._options.agent_id or agent_id in self._options.agent_id
