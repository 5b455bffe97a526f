"""Every way in which a connection can end has one meaning."""

from __future__ import annotations

import pytest

from device_agent.core.ending import End, Kind, classify

CLOSE, HTTP = Kind.CLOSE, Kind.HTTP

TABLE = [
    (End(Kind.LOCAL), "normal"),
    (End(CLOSE, 1000), "normal"),
    (End(CLOSE, 1001), "transient"),
    (End(CLOSE, 1002, "llm failed"), "transient"),
    (End(CLOSE, 1002, "This request exceeds your quota limit."), "account"),
    (End(CLOSE, 1002, "The AI agent you are trying to reach appears to be misconfigured"), "config"),
    (End(CLOSE, 1008, "Override for field 'first_message' is not allowed by config."), "config"),
    (End(CLOSE, 1008, "Missing required dynamic variables in first message: {name}"), "config"),
    (End(CLOSE, 1008), "config"),
    (End(CLOSE, 1009), "transient"),
    (End(CLOSE, 1011), "transient"),
    (End(CLOSE, 1012), "transient"),
    (End(CLOSE, 3000, "Request error"), "config"),
    (End(CLOSE, 3000, "quota_exceeded"), "account"),
    (End(CLOSE, 3008, "too many concurrent connections"), "capacity"),
    (End(CLOSE, 4300), "capacity"),
    (End(CLOSE, 4999), "transient"),
    (End(HTTP, 200), "transient"),  # a captive portal
    (End(HTTP, 302), "config"),
    (End(HTTP, 400), "config"),
    (End(HTTP, 401, "invalid_api_key"), "config"),
    (End(HTTP, 401, "quota_exceeded"), "account"),
    (End(HTTP, 403), "config"),
    (End(HTTP, 404), "config"),
    (End(HTTP, 408), "transient"),
    (End(HTTP, 422), "config"),
    (End(HTTP, 429, "too_many_concurrent_requests"), "capacity"),
    (End(HTTP, 429, "system_busy"), "transient"),
    (End(HTTP, 500), "transient"),
    (End(HTTP, 522), "transient"),
    (End(Kind.TLS, 9), "clock"),
    (End(Kind.TLS, 18), "security"),
    (End(Kind.DNS), "network"),
    (End(Kind.NETWORK, 104), "network"),
    (End(Kind.TIMEOUT, reason="upgrade"), "network"),
    (End(Kind.PROTOCOL, 1002), "transient"),
    (End(Kind.SETUP, reason="agent.id is not set"), "config"),
    (End(Kind.CONFIG, reason="/etc/device-agent/config.toml:2: unknown setting"), "config"),
]


@pytest.mark.parametrize(("end", "group"), TABLE, ids=lambda value: str(value) if isinstance(value, End) else value)
def test_meaning(end: End, group: str) -> None:
    """The text decides before the code, and what is unknown is transient."""
    assert classify(end).group == group


def test_what_a_person_must_do_is_said() -> None:
    """Each end that only a person can mend has its line of advice, and no other has one but the clock's and TLS's."""
    for end, group in TABLE:
        verdict = classify(end)
        assert bool(verdict.advice) is (group in ("config", "account", "clock", "security"))
        assert verdict.fatal is (group in ("config", "account"))
        assert verdict.normal is (group == "normal")


def test_an_error_message_explains_the_end_that_follows() -> None:
    """What the service wrote before counts where the end says nothing, even if no close frame came."""
    assert classify(End(Kind.NETWORK, reason="lost without a close frame"), "quota_exceeded").group == "account"
    assert classify(End(CLOSE, 1008), "missing_dynamic_variable").advice.startswith(
        "the agent needs a dynamic variable"
    )
    assert classify(End(CLOSE, 1002), "max_duration_exceeded").normal


def test_our_own_words_are_not_the_services() -> None:
    """A time-out that names the phase "quota" would not be the account's."""
    assert classify(End(Kind.TIMEOUT, reason="quota")).group == "network"
