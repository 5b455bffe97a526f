"""What the agent's own settings permit: the events that it sends us, and the overrides that we send it.

Only an API key may look at them. Without one an override that is refused is still found: by `agent.conversation`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from device_agent.config.endpoints import https_url
from device_agent.config.schema import Agent
from device_agent.core.initiation import initiation
from device_agent.doctor.check import Finding, failed, ok, skipped, warning
from device_agent.doctor.host import Case
from device_agent.link.address import check_access
from device_agent.link.dial import Dialer
from device_agent.link.once import one_attempt
from device_agent.link.signed_url import request
from device_agent.link.waiting import Attempt, Overdue

PATIENCE_S = 10.0
MAX_BODY = 4 * 1024 * 1024  # a prompt may be long
WANTED = {
    "interruption": "nobody can interrupt the agent",
    "user_transcript": "after a lost connection the new conversation is not told what the user has said",
    "agent_response": "after a lost connection the new conversation is not told what the agent has said",
}
NO_KEY = "only an API key may look; in the agent's settings there must be: audio, interruption"


def events(case: Case) -> Finding:
    """Whether the agent sends what we need."""
    found = _settings(case)
    if isinstance(found, str):
        return skipped(found)
    sent = _branch(found, "conversation_config", "conversation").get("client_events")
    if not isinstance(sent, list):
        return skipped("the service does not say which events the agent sends")
    if "audio" not in sent:
        return failed("the agent sends no audio", "switch the client event audio on in the agent's advanced settings")
    missing = {name: loss for name, loss in WANTED.items() if name not in sent}
    if missing:
        what = "; ".join(f"no {name}: {loss}" for name, loss in missing.items())
        return warning(what, f"switch on in the agent's advanced settings: {', '.join(missing)}")
    return ok(f"audio, {', '.join(WANTED)} are sent")


def overrides(case: Case) -> Finding:
    """Whether the agent allows every override that this configuration may send, in any language, now or later."""
    found = _settings(case)
    wanted = sorted(_may_send(case.settings.agent))
    if not wanted:
        return ok("none is configured")
    if isinstance(found, str):
        return skipped(f"{found}; configured are {', '.join(wanted)}")
    allowed = _branch(found, "platform_settings", "overrides", "conversation_config_override")
    if not allowed:
        return skipped("the service does not say which overrides the agent allows")
    refused = [name for name in wanted if _refused(allowed, name)]
    if refused:
        return failed(
            f"the agent does not allow: {', '.join(refused)}",
            "allow them in the agent's security settings, or take them out of [agent]",
        )
    return ok(f"{', '.join(wanted)}: allowed")


def _may_send(agent: Agent) -> set[str]:
    variants = [agent, *(replace(agent, language=name, **table) for name, table in agent.languages.items())]
    if agent.continue_silently:
        variants.append(replace(agent, first_message=""))
    return {name for variant in variants for name in _leaves(initiation(variant).config_override)}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _refused(tree: Mapping[str, Any], name: str) -> bool:
    *path, last = name.split(".")
    return _branch(tree, *path).get(last) is False


def _branch(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        inner = tree.get(key)
        tree = inner if isinstance(inner, Mapping) else {}
    return tree


def _settings(case: Case) -> Mapping[str, Any] | str:
    """The agent's settings, asked for once; or why they cannot be had."""
    if case.agent is None:
        case.agent = _ask(case)
    return case.agent


def _ask(case: Case) -> Mapping[str, Any] | str:
    key = case.secrets.api_key()
    if not key or check_access(case.settings, case.secrets) != "key":
        return NO_KEY
    place = f"{https_url(case.settings)}/v1/convai/agents/{quote(case.settings.agent.id, safe='')}"
    try:
        with one_attempt(case.settings.server.ca_file, PATIENCE_S, case.host.resolve) as (dialer, attempt):
            return _get(place, key, dialer, attempt)
    except (HTTPException, OSError, Overdue, ValueError, RecursionError) as error:
        return f"the agent's settings could not be read ({type(error).__name__})"


def _get(place: str, key: str, dialer: Dialer, attempt: Attempt) -> Mapping[str, Any] | str:
    conduit = dialer.dial(urlsplit(place), attempt)
    try:
        response = request(urlsplit(place), {"Accept": "application/json", "xi-api-key": key}, conduit)
        if response.status != 200:
            return f"this key may not look at the agent's settings (status {response.status})"
        found = json.loads(response.read(MAX_BODY))
        return found if isinstance(found, Mapping) else "the answer holds no settings"
    finally:
        conduit.close()
