"""A signed URL: fetched for each connection, used as it is, told to nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from link_peer import Rig, rig, settings

from device_agent.bench.authority import Authority
from device_agent.config.schema import Agent, Settings
from device_agent.config.secrets import Secrets
from device_agent.core.commands import Connect
from device_agent.core.ending import End, Kind
from device_agent.core.events import LinkOpened

KEY = "sk_canary_0123456789abcdef"
TOKEN = "canary-device-token"
UNUSABLE = End(Kind.PROTOCOL, 0, "the answer holds no usable signed_url")


def _answer(r: Rig, url: object) -> str:
    """Give the link that signed URL; returns its request."""
    peer = r.accept()
    request = peer.read_request()
    peer.answer("200 OK", json.dumps({"signed_url": url}).encode(), "Content-Type: application/json")
    return request


def _signed(r: Rig) -> str:
    return f"ws://127.0.0.1:{r.port}/v1/convai/conversation?agent_id=agent_1&conversation_signature=canary_sig%2B"


def test_a_key_fetches_a_signed_url_for_each_connection():
    """The key is in that request's header and nowhere else; the URL is used verbatim; none is used twice."""
    with rig(secrets=Secrets(KEY)) as r:
        for conn in (1, 2):
            r.link.connect(Connect(conn))
            request = _answer(r, _signed(r))
            assert request.startswith("GET /v1/convai/conversation/get-signed-url?agent_id=agent_1 HTTP/1.1\r\n")
            assert f"xi-api-key: {KEY}" in request
            upgrade = r.accept().upgrade()
            assert upgrade.startswith(
                "GET /v1/convai/conversation?agent_id=agent_1&conversation_signature=canary_sig%2B HTTP/1.1\r\n"
            )
            assert KEY not in upgrade
            assert "origin:" not in upgrade.lower()
            assert r.events.next(LinkOpened).conn == conn
            r.hang_up(conn)


def test_branch_and_environment_are_asked_for():
    """They choose what the signed URL is for."""
    agent = Agent(id="agent_1", branch_id="b 1", environment="staging")
    with rig(secrets=Secrets(KEY), settings=replace(settings(), agent=agent)) as r:
        r.link.connect(Connect(1))
        line = r.accept().read_request().splitlines()[0]
        assert line == (
            "GET /v1/convai/conversation/get-signed-url?agent_id=agent_1&environment=staging&branch_id=b+1 HTTP/1.1"
        )


def test_a_public_agent_needs_no_signed_url():
    """Its id is in the address; an Origin is sent only if one is configured."""
    with rig(settings=settings(origin="https://device.test")) as r:
        r.link.connect(Connect(1))
        request = r.accept().upgrade()
        assert request.startswith("GET /v1/convai/conversation?agent_id=agent_1 HTTP/1.1\r\n")
        assert "Origin: https://device.test" in request
        assert "xi-api-key" not in request


def test_a_broker_gets_the_devices_token(tmp_path: Path):
    """The broker knows the agent, and its signed URL leads to another host than the configured one."""
    authority = Authority(tmp_path)
    context = authority.server(authority.certificate("broker", "127.0.0.1"))
    with rig(tls=context, settings=settings(url="wss://unused.test")) as broker, rig() as service:
        server = replace(
            broker.settings.server,
            broker_url=f"https://127.0.0.1:{broker.port}/sign?device=7",
            ca_file=str(authority.ca_file),
        )
        with rig(settings=Settings(server=server), secrets=Secrets(broker_token=TOKEN)) as r:
            r.link.connect(Connect(1))
            request = _answer(broker, _signed(service))
            assert request.startswith("GET /sign?device=7 HTTP/1.1\r\n")
            assert f"Authorization: Bearer {TOKEN}" in request
            assert TOKEN not in service.accept().upgrade()
            r.events.next(LinkOpened)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>captive portal</html>",
        b"[]",
        b"{}",
        b'{"signed_url": null}',
        b'{"signed_url": "https://api.test/"}',
        b'{"signed_url": "ws://not-loopback.test/x"}',
        b'{"signed_url": "wss://h.test/\\r\\nX: y"}',
        b'{"signed_url": "wss://u:p@h.test/"}',
        b'{"signed_url": "wss://h.test:99999/"}',
        b"[" * 50_000,
        b'{"signed_url": "wss://' + b"x" * 70_000,
    ],
)
def test_an_unusable_answer_is_a_protocol_end(body: bytes):
    """Nothing of it is quoted: it may hold a secret."""
    with rig(secrets=Secrets(KEY)) as r:
        r.link.connect(Connect(1))
        peer = r.accept()
        peer.read_request()
        peer.answer("200 OK", body)
        assert r.end() in (UNUSABLE, End(Kind.PROTOCOL, 0, "the answer to the handshake is too long"))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            "401 No",
            {"detail": {"status": "invalid_api_key", "message": f"Invalid key {KEY}"}},
            End(Kind.HTTP, 401, "invalid_api_key: Invalid key (secret)"),
        ),
        ("429 Slow", {"detail": {"status": "system_busy"}}, End(Kind.HTTP, 429, "system_busy")),
        ("302 Found", {}, End(Kind.HTTP, 302)),
        (
            "422 No",
            {"detail": {"message": "see wss://h.test/x?conversation_signature=canary and token=canary\n"}},
            End(Kind.HTTP, 422, "see (address) and (secret)"),
        ),
    ],
)
def test_a_refusal_ends_with_its_status_and_no_secret(status: str, body: dict, expected: End):
    """A redirect is not followed: the key would go to a stranger."""
    with rig(secrets=Secrets(KEY)) as r:
        r.link.connect(Connect(1))
        peer = r.accept()
        peer.read_request()
        peer.answer(status, json.dumps(body).encode(), "Location: http://127.0.0.1:9/")
        assert r.end() == expected


@pytest.mark.parametrize(
    ("server", "word"),
    [
        ({"auth": "key"}, "API key"),
        ({"auth": "broker"}, "server.broker_url"),
        ({"auth": "broker", "broker_url": "https://broker.test/"}, "server.broker_token_file"),
    ],
)
def test_a_missing_secret_is_a_setup_end(server: dict, word: str):
    """The reason names what is missing and the remedy; nothing is dialled."""
    with rig(settings=settings(**server)) as r:
        r.link.connect(Connect(1))
        end = r.end()
        assert end.kind is Kind.SETUP
        assert word in end.reason


def test_no_secret_appears_in_any_event_or_failure(capfd: pytest.CaptureFixture[str]):
    """Canaries in key and signature, through good and bad ends: none is seen."""
    with rig(secrets=Secrets(KEY)) as r:
        r.link.connect(Connect(1))
        _answer(r, _signed(r))
        r.accept().upgrade()
        r.events.next(LinkOpened)
        r.hang_up(1)
        r.link.connect(Connect(2))
        _answer(r, _signed(r))
        peer = r.accept()
        peer.read_request()
        peer.answer("403 No", json.dumps({"detail": f"no {_signed(r)} with {KEY}"}).encode())
        r.end(2)
        r.link.connect(Connect(3))
        _answer(r, _signed(r).replace("127.0.0.1", "canary.invalid"))
        r.end(3)
        said = repr(r.events.seen)
    output = capfd.readouterr()
    assert "canary" not in said + output.out + output.err
