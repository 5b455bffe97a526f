"""Every way in which a connection can end has one meaning."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from device_agent.cli.status import lines
from device_agent.config.schema import Activation, Agent, Settings
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind, classify
from device_agent.core.events import LinkEnded, LinkOpened, ServerSaid, Start, Tick
from device_agent.protocol.messages import Metadata

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
    (End(HTTP, 300), "config"),
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


def test_an_end_is_one_line_for_a_person() -> None:
    """Its reason where one was given, else its kind and code; it stands in the status until there is a conversation."""
    ends = (
        End(Kind.NETWORK, 111, "Connection refused"),
        End(CLOSE, 1011),
        End(Kind.DNS),
    )
    assert [end.words for end in ends] == ["Connection refused", "close 1011", "dns"]


def test_the_status_says_why_it_is_offline_and_what_it_has_cost() -> None:
    """From the end of an attempt to the next conversation; minutes connected today and this month."""
    core = Conversation(Settings(agent=Agent(id="a"), activation=Activation(("always-on",))), lambda: 0.5)
    core.handle(Start(), 0.0)
    core.handle(LinkEnded(1, End(Kind.NETWORK, 111, "Connection refused")), 0.1)
    assert (
        shown(core, today_s=90, month_s=3600).items()
        >= {
            "state": "offline (link backoff, turn idle)",
            "lost": "Connection refused",
            "connected": "2 min today, 60 min this month",
        }.items()
    )
    core.handle(Tick(), 60.0)
    core.handle(LinkOpened(2), 60.1)
    core.handle(ServerSaid(2, Metadata("c", "pcm_16000", "pcm_16000")), 60.2)
    assert "lost" not in shown(core)
    assert core.snapshot.fault == ""


def shown(core: Conversation, **facts: int) -> dict[str, str]:
    """What `device-agent status` prints, line by line."""
    seen = core.snapshot
    status = asdict(seen) | {"link": seen.link.value, "turn": seen.turn.value, "state": seen.indicator.value}
    status |= {"uptime_s": 0, "version": "1", "device_id": "", "configuration": ""} | facts
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines(status)}
