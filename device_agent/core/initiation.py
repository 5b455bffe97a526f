"""What the agent is told at the start of a conversation."""

from __future__ import annotations

from typing import Any

from device_agent.config import schema
from device_agent.protocol.messages import Initiation


def initiation(agent: schema.Agent) -> Initiation:
    """The first message. Only what the user has set appears: each override must be allowed in the agent."""
    override: dict[str, Any] = {key: _copy(value) for key, value in agent.overrides.items()}
    said = override.setdefault("agent", {})
    if agent.first_message is not None:
        said["first_message"] = agent.first_message
    if agent.language:
        said["language"] = agent.language
    if agent.prompt:
        said.setdefault("prompt", {})["prompt"] = agent.prompt
    if agent.voice_id:
        override.setdefault("tts", {})["voice_id"] = agent.voice_id
    return Initiation(
        config_override={key: value for key, value in override.items() if value != {}},
        dynamic_variables=agent.dynamic_variables,
        extra_body=agent.extra_body,
        user_id=agent.user_id,
        branch_id=agent.branch_id,
        environment=agent.environment,
    )


def _copy(value: Any) -> Any:
    """A private copy of nested tables: the settings stay as they are."""
    return {key: _copy(inner) for key, inner in value.items()} if isinstance(value, dict) else value
