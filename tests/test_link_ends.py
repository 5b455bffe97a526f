"""Every way in which a connection can end, as the link reports it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from link_peer import CLOSE, METADATA, PATIENCE_S, TEXT, frame, metadata, rig, settings, upgrade_answer

from device_agent.bench.authority import Authority
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.core.commands import Connect, Disconnect, Send
from device_agent.core.ending import End, Kind
from device_agent.core.events import LinkEnded, LinkOpened
from device_agent.link.dial import Address
from device_agent.protocol.messages import Initiation
from device_agent.runtime.deadline import Deadline

DETAIL = {"detail": {"status": "quota_exceeded", "message": "no credits"}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize(
    ("payload", "expected", "echo"),
    [
        (struct.pack("!H", 1000), End(Kind.CLOSE, 1000), 1000),
        (struct.pack("!H", 1002) + b"over your quota", End(Kind.CLOSE, 1002, "over your quota"), 1002),
        (struct.pack("!H", 3008) + b"\xff!", End(Kind.CLOSE, 3008, "\ufffd!"), 3008),
        (b"", End(Kind.CLOSE, 1005), 1000),
    ],
)
def test_a_close_frame_ends_with_its_code_and_is_echoed(payload: bytes, expected: End, echo: int):
    """The peer's code and reason are handed on, and its code is sent back."""
    with rig() as r:
        peer = r.open()
        peer.frame(CLOSE, payload)
        assert r.end() == expected
        assert peer.read_close() == echo


def test_everything_before_the_close_frame_is_still_delivered():
    """A server that says why it closes, and closes at once, is understood."""
    with rig() as r:
        peer = r.open(say=None)
        peer.sock.sendall(_frames(METADATA) + bytes([0x88, 2]) + struct.pack("!H", 1000))
        assert r.end() == End(Kind.CLOSE, 1000)
        assert "ServerSaid" in [type(event).__name__ for event in r.events.seen]


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        ("401 No", json.dumps(DETAIL).encode(), [], End(Kind.HTTP, 401, "quota_exceeded: no credits")),
        ("404 No", b'{"detail": "no such agent"}', [], End(Kind.HTTP, 404, "no such agent")),
        ("403 No", b"<html>", [], End(Kind.HTTP, 403)),
        ("429 Slow", b"[]", ["Retry-After: 7"], End(Kind.HTTP, 429, "", 7.0)),
        ("503 Busy", b"", ["Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"], End(Kind.HTTP, 503)),
        ("200 OK", b"<html>captive portal</html>", [], End(Kind.HTTP, 200)),
        ("302 Found", b"", ["Location: ws://127.0.0.1:9/"], End(Kind.HTTP, 302)),
        ("307 There", b"", ["Location: ws://127.0.0.1:9/"], End(Kind.HTTP, 307)),
    ],
)
def test_a_refused_upgrade_ends_with_its_status(status: str, body: bytes, headers: list[str], expected: End):
    """Status, the service's own words and its wish for a pause are handed on; a redirect is never followed."""
    with rig() as r:
        r.link.connect(Connect(1))
        peer = r.accept()
        peer.read_request()
        peer.answer(status, body, *headers)
        assert r.end() == expected


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n"])
def test_nonsense_in_place_of_the_upgrade_is_a_protocol_fault(answer: bytes):
    """What is not an answer to an upgrade ends the attempt."""
    with rig() as r:
        r.link.connect(Connect(1))
        peer = r.accept()
        peer.read_request()
        peer.sock.sendall(answer)
        assert r.end().kind is Kind.PROTOCOL


def test_an_endless_answer_to_the_upgrade_is_cut_off():
    """No more than 64 kB are read of any answer to a handshake."""
    with rig() as r:
        r.link.connect(Connect(1))
        peer = r.accept()
        peer.read_request()
        peer.sock.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 100000000000\r\n\r\n" + bytes(65536))
        assert r.end() == End(Kind.PROTOCOL, 0, "the answer to the handshake is too long")


def test_a_lost_connection_is_a_network_end():
    """FIN without a close frame, in the middle of a frame, and RST are all the network's doing."""
    with rig() as r:
        r.open(1).sock.close()
        assert r.end(1) == End(Kind.NETWORK, 0, "lost without a close frame")
        peer = r.open(2)
        peer.sock.sendall(b"\x81\x7e\xff")
        peer.sock.close()
        assert r.end(2).kind is Kind.NETWORK
        r.open(3).reset()
        assert r.end(3) == End(Kind.NETWORK, 104, "Connection reset by peer")


def test_a_closed_port_is_a_network_end():
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with rig(settings=settings(url=f"ws://127.0.0.1:{port}")) as r:
        r.link.connect(Connect(1))
        assert r.end() == End(Kind.NETWORK, 111, "Connection refused")


def test_a_name_without_address_is_a_dns_end():
    """The resolver knows no such host."""

    def unknown(host: str, port: int):
        raise socket.gaierror(-2, "Name or service not known")

    with rig(resolver=unknown, scheme="wss", host="nowhere.invalid") as r:
        r.link.connect(Connect(1))
        assert r.end().kind is Kind.DNS


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("wrong-host", {"host": "elsewhere.test"}, 64),
        ("self-signed", {"host": "127.0.0.1", "issued": False}, 18),
        ("future", {"host": "127.0.0.1", "lifetime": ("20900101000000Z", "20910101000000Z")}, 9),
        ("expired", {"host": "127.0.0.1", "lifetime": ("20000101000000Z", "20010101000000Z")}, 10),
    ],
)
def test_a_bad_certificate_is_a_tls_end(authority: Authority, name: str, options: dict, code: int):
    """The certificate's fault is handed on as OpenSSL's verify code; 9 means that our clock may be wrong."""
    context = authority.server(authority.certificate(name, **options))
    with rig(tls=context, settings=settings(ca_file=str(authority.ca_file))) as r:
        r.link.connect(Connect(1))
        with pytest.raises(OSError, match=r"(?i)alert|certificate|unknown ca|reset"):
            r.accept().read_request()
        end = r.end()
        assert (end.kind, end.code) == (Kind.TLS, code)
        assert end.reason


def test_a_server_without_tls_is_a_tls_end(authority: Authority):
    """Plain text where a TLS handshake should be: a captive portal, or a wrong port."""
    with rig(scheme="wss") as r:
        r.link.connect(Connect(1))
        r.accept_socket().sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert r.end().kind is Kind.TLS


def test_a_missing_ca_file_is_a_setup_end(tmp_path: Path):
    """The reason names the option and the file."""
    with rig(scheme="wss", settings=settings(ca_file=str(tmp_path / "none.pem"))) as r:
        r.link.connect(Connect(1))
        end = r.end()
        assert end.kind is Kind.SETUP
        assert "server.ca_file" in end.reason


def test_a_missing_agent_id_is_a_setup_end():
    """Nothing is dialled; the reason is the remedy."""
    with rig(settings=Settings()) as r:
        r.link.connect(Connect(1))
        end = r.end()
        assert end.kind is Kind.SETUP
        assert "agent.id" in end.reason


def test_a_conversation_over_tls(authority: Authority):
    """With the authority in `ca_file` a private server is trusted, and a first message in the same TLS record as
    the upgrade's answer is not left lying."""
    context = authority.server(authority.certificate("good", "127.0.0.1"))
    with rig(tls=context, settings=settings(ca_file=str(authority.ca_file))) as r:
        r.link.connect(Connect(1))
        peer = r.accept()
        peer.sock.sendall(upgrade_answer(peer.read_request()) + _frames(METADATA))
        r.events.next(LinkOpened)
        r.link.send(Send(1, Initiation()))
        assert peer.read()["type"] == "conversation_initiation_client_data"
        r.link.disconnect(Disconnect(1))
        assert peer.read_close() == 1000
        assert r.end() == End(Kind.LOCAL)
        assert [type(event).__name__ for event in r.events.seen] == ["LinkOpened", "ServerSaid", "LinkEnded"]


def test_an_unknown_audio_format_is_a_protocol_end():
    """A format that we do not speak ends the conversation with a reason that names it."""
    with rig() as r:
        peer = r.open(say=None)
        peer.say(metadata(agent="opus_48000"))
        end = r.end()
        assert (end.kind, end.code) == (Kind.PROTOCOL, 1003)
        assert "opus_48000" in end.reason
        assert peer.read_close() == 1003


def test_a_disconnect_gives_up_a_connection_that_is_still_queued():
    """Each Connect has its LinkEnded, also one that was never begun."""
    with rig() as r:
        r.open(1)
        r.link.connect(Connect(2))
        r.link.disconnect(Disconnect(2))
        assert [r.events.next(LinkEnded) for _ in range(2)] == [
            LinkEnded(1, End(Kind.LOCAL)),
            LinkEnded(2, End(Kind.LOCAL)),
        ]


def test_a_disconnect_of_an_earlier_connection_changes_nothing():
    """An order that comes late ends only what it names."""
    with rig() as r:
        r.open(1)
        r.hang_up(1)
        peer = r.open(2)
        r.link.disconnect(Disconnect(1))
        r.link.send(Send(2, Initiation()))
        assert peer.read()["type"] == "conversation_initiation_client_data"


def test_a_peer_that_does_not_answer_the_close_frame_is_left():
    """The answer is awaited for 100 ms at most."""
    with rig() as r:
        peer = r.open()
        assert r.hang_up() == End(Kind.LOCAL)
        assert peer.read_close() == 1000
        assert peer.sock.recv(1) == b""


def test_what_was_ordered_before_the_end_still_goes_out():
    """Control first, then the close frame; audio is thrown away."""
    with rig() as r:
        peer = r.open()
        r.link.send(Send(1, Initiation()))
        r.link.disconnect(Disconnect(1, 1000, "enough"))
        assert peer.read()["type"] == "conversation_initiation_client_data"
        assert peer.read_frame() == (CLOSE, struct.pack("!H", 1000) + b"enough")
        peer.frame(CLOSE, struct.pack("!H", 1000))
        assert r.end() == End(Kind.LOCAL)


@pytest.mark.parametrize("answer", [b"", b"\xff\xff", frame(TEXT, b"{}") * 100])
def test_an_ordered_end_is_local_whatever_the_peer_does(answer: bytes):
    """It hangs up, it breaks the protocol, or it goes on talking."""
    with rig() as r:
        peer = r.open()
        r.link.disconnect(Disconnect(1))
        assert peer.read_close() == 1000
        peer.sock.sendall(answer)
        peer.sock.close()
        assert r.end() == End(Kind.LOCAL)


@pytest.mark.parametrize("ending", ["disconnect", "stop"])
@pytest.mark.parametrize("phase", ["dns", "tcp", "tls", "upgrade", "dripped upgrade", "signed url", "open"])
def test_every_phase_ends_at_once(phase: str, ending: str):
    """No phase of a connection keeps a person, or the end of the process, waiting."""
    reached, go_on = threading.Event(), threading.Event()
    ours, theirs = socket.socketpair()

    def resolver(host: str, port: int) -> list[Address]:
        reached.set()
        go_on.wait(PATIENCE_S)
        return []

    def dialer(address: Address) -> socket.socket:
        reached.set()
        return _stuck(ours)

    arguments: dict[str, dict] = {
        "dns": {"resolver": resolver, "host": "localhost"},
        "tcp": {"dialer": dialer},
        "tls": {"scheme": "wss"},
        "signed url": {"secrets": Secrets("sk_1")},
    }
    with rig(**arguments.get(phase, {})) as r:
        if phase == "open":
            r.open()
        else:
            r.link.connect(Connect(1))
        if phase in ("dns", "tcp"):
            assert reached.wait(PATIENCE_S)
        elif phase == "tls":
            r.accept_socket().recv(1)
        elif phase in ("upgrade", "signed url"):
            r.accept().read_request()
        elif phase == "dripped upgrade":
            peer = r.accept()
            peer.sock.sendall(upgrade_answer(peer.read_request())[:20])
        began = time.monotonic()
        if ending == "disconnect":
            r.link.disconnect(Disconnect(1))
        else:
            r.link.request_stop()
        assert r.events.next(LinkEnded) == LinkEnded(1, End(Kind.LOCAL))
        assert time.monotonic() - began < 1.0, "0.3 s is the promise; a busy machine may add to it"
        go_on.set()
    ours.close()
    theirs.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("phase", ["tls", "upgrade", "signed-url"])
def test_a_peer_that_drips_its_answer_meets_a_whole_deadline(phase: str):
    """Ten seconds for everything, however often a byte arrives; the reason names the phase."""
    clock = Clock()
    arguments: dict[str, dict] = {"tls": {"scheme": "wss"}, "signed-url": {"secrets": Secrets("sk_1")}}
    with rig(clock=clock, **arguments.get(phase, {})) as r:
        r.link.connect(Connect(1))
        sock = r.accept_socket()
        sock.recv(1)
        for second in range(11):
            clock.now = float(second)
            with contextlib.suppress(OSError):  # the link has hung up
                sock.sendall(b"H" if phase != "tls" else b"\x16\x03\x03\x20\x00"[second % 5 : second % 5 + 1])
        assert r.end() == End(Kind.TIMEOUT, reason=phase)


def test_a_fault_of_the_link_itself_ends_the_connection_and_the_thread():
    """The core must not believe in a connection that nobody serves; the supervisor replaces the thread."""

    def broken(address: Address) -> socket.socket:
        raise RuntimeError("a bug")

    with rig(dialer=broken) as r:
        r.link.connect(Connect(1))
        assert r.end().kind is Kind.NETWORK
        assert r.link.join(Deadline(PATIENCE_S))
        assert [str(failure) for failure in r.failures] == ["a bug"]
        r.failures.clear()


def _stuck(sock: socket.socket) -> socket.socket:
    """A socket with a full send buffer: to `poll`, one that never becomes connected."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))
    return sock


def _frames(*messages: dict) -> bytes:
    return b"".join(frame(TEXT, json.dumps(message).encode()) for message in messages)
