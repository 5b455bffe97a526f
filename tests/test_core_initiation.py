"""What the agent is told at the start."""

from __future__ import annotations

from device_agent.config import schema
from device_agent.core.initiation import initiation
from device_agent.protocol.messages import Initiation


def test_nothing_is_sent_that_was_not_set() -> None:
    """Without settings the message is empty: an override that is not allowed closes the call."""
    assert initiation(schema.Agent()) == Initiation()


def test_every_setting_has_its_place() -> None:
    """Overrides lie where the schema wants them; an empty first message is a message."""
    agent = schema.Agent(
        language="de", first_message="", prompt="Be brief.", voice_id="v", dynamic_variables={"name": "Ada"},
        extra_body={"a": 1}, user_id="u", environment="staging", branch_id="b",
    )  # fmt: skip
    message = initiation(agent)
    assert message.config_override == {
        "agent": {"first_message": "", "language": "de", "prompt": {"prompt": "Be brief."}},
        "tts": {"voice_id": "v"},
    }
    assert message.dynamic_variables == {"name": "Ada"}
    assert message.extra_body == {"a": 1}
    assert (message.user_id, message.environment, message.branch_id) == ("u", "staging", "b")


def test_other_overrides_are_passed_on_and_not_changed() -> None:
    """Nested overrides of the user's own are merged into a copy."""
    overrides = {"agent": {"prompt": {"llm": "x"}}, "turn": {"a": [1]}}
    message = initiation(schema.Agent(prompt="p", overrides=overrides))
    assert message.config_override == {"agent": {"prompt": {"llm": "x", "prompt": "p"}}, "turn": {"a": [1]}}
    assert overrides == {"agent": {"prompt": {"llm": "x"}}, "turn": {"a": [1]}}
