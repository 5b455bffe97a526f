"""The other end of the link's socket, driven by the test itself, one blocking step at a time; and the link's rig."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import queue
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from device_agent.config.schema import Agent, Server, Settings
from device_agent.config.secrets import Secrets
from device_agent.core.commands import Connect, Disconnect
from device_agent.core.ending import End
from device_agent.core.events import Event, LinkEnded, LinkOpened, ServerSaid
from device_agent.link.worker import Link
from device_agent.protocol.messages import Metadata
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.ring import CaptureRing, PlaybackRing

PATIENCE_S = 5.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_1",
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
    },
}
T = TypeVar("T")


def metadata(agent: str = "pcm_16000", user: str = "pcm_16000") -> dict[str, Any]:
    event = METADATA["conversation_initiation_metadata_event"]
    formats = {"agent_output_audio_format": agent, "user_input_audio_format": user}
    return METADATA | {"conversation_initiation_metadata_event": {**event, **formats}}  # type: ignore[dict-item]


class Peer:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE_S)

    def read_request(self) -> str:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = self.sock.recv(1)
            assert piece, f"the link hung up after {request!r}"
            request += piece
        return request.decode()

    def upgrade(self) -> str:
        """Accept the WebSocket; returns the request."""
        request = self.read_request()
        self.sock.sendall(upgrade_answer(request))
        return request

    def answer(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + body)

    def frame(self, opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, masked: bool = False) -> None:
        self.sock.sendall(frame(opcode, payload, fin, rsv, masked))

    def say(self, message: dict[str, Any] | str) -> None:
        self.frame(TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame, which must be masked as a client's are."""
        first, second = self._exactly(2)
        assert first & 0x80, "the link never fragments"
        assert second & 0x80, "a client's frame must be masked"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._exactly(8))
        key = self._exactly(4)
        payload = self._exactly(length)
        stream = (key * (length // 4 + 1))[:length]
        return first & 0xF, (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")

    def read(self) -> dict[str, Any]:
        """The next text message."""
        opcode, payload = self.read_frame()
        while opcode == PING:  # whether we still read; this peer does not say
            opcode, payload = self.read_frame()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)  # type: ignore[no-any-return]

    def read_audio(self) -> bytes:
        return base64.b64decode(self.read()["user_audio_chunk"])

    def read_close(self) -> int:
        opcode, payload = self.read_frame()
        assert opcode == CLOSE, (opcode, payload)
        return int(struct.unpack("!H", payload[:2])[0])

    def reset(self) -> None:
        """End with RST, as a crashed machine's kernel does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            assert piece, "the link hung up"
            data += piece
        return bytes(data)


def upgrade_answer(request: str) -> bytes:
    (key,) = [line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key")]
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, fin: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    length = len(payload)
    mask_bit = 0x80 if masked else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 65536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Events:
    """What the link posted, in order."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.seen: list[Event] = []

    def post(self, event: Event) -> None:
        self._queue.put(event)

    def next(self, kind: type[T], timeout: float = PATIENCE_S) -> T:
        """The next event of that kind; the others on the way are kept in `seen`."""
        deadline = Deadline(timeout)
        while True:
            try:
                event = self._queue.get(timeout=deadline.remaining())
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} within {timeout} s; seen: {self.seen}") from None
            self.seen.append(event)
            if isinstance(event, kind):
                return event


class Rig:
    """A link with everything it needs, a listening socket for it to dial, and no audio hardware."""

    def __init__(self, tls: ssl.SSLContext | None = None, secrets: Secrets | None = None, **arguments: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        self.listener.settimeout(PATIENCE_S)
        self.port: int = self.listener.getsockname()[1]
        self.tls = tls
        self.events = Events()
        self.failures: list[BaseException] = []
        self.capture = CaptureRing()
        self.playback = PlaybackRing()
        self.latch = MuteLatch()
        settings: Settings = arguments.pop("settings", Settings(agent=Agent(id="agent_1")))
        if not settings.server.url:
            scheme = arguments.pop("scheme", "wss" if tls else "ws")
            url = f"{scheme}://{arguments.pop('host', '127.0.0.1')}:{self.port}"
            settings = replace(settings, server=replace(settings.server, url=url))
        self.settings = settings
        self.link = Link(
            settings,
            secrets or Secrets(),
            self.capture,
            self.playback,
            self.latch,
            self.events.post,
            lambda name, error: self.failures.append(error),
            **arguments,
        )
        self.link.start()
        self.sockets: list[socket.socket] = []

    def accept(self) -> Peer:
        """The next TCP connection, with TLS where the rig has it."""
        sock = self.accept_socket()
        peer = Peer(self.tls.wrap_socket(sock, server_side=True) if self.tls else sock)
        self.sockets.append(peer.sock)
        return peer

    def accept_socket(self) -> socket.socket:
        """The next TCP connection, as it is."""
        sock, _ = self.listener.accept()
        sock.settimeout(PATIENCE_S)
        self.sockets.append(sock)
        return sock

    def open(self, conn: int = 1, say: dict[str, Any] | None = METADATA) -> Peer:
        """Connect, accept, upgrade; and agree on formats unless `say` is None."""
        self.link.connect(Connect(conn))
        peer = self.accept()
        peer.upgrade()
        assert self.events.next(LinkOpened).conn == conn
        if say is not None:
            peer.say(say)
            assert isinstance(self.events.next(ServerSaid).message, Metadata)
        return peer

    def end(self, conn: int = 1) -> End:
        ended = self.events.next(LinkEnded)
        assert ended.conn == conn
        return ended.end

    def hang_up(self, conn: int = 1) -> End:
        self.link.disconnect(Disconnect(conn))
        return self.end(conn)

    def stop(self) -> None:
        self.link.request_stop()
        assert self.link.join(Deadline(2.0)), "the link did not stop"
        for sock in self.sockets:
            sock.close()
        self.listener.close()
        assert not self.failures, self.failures


@contextlib.contextmanager
def rig(**arguments: Any) -> Iterator[Rig]:
    made = Rig(**arguments)
    try:
        yield made
    finally:
        made.stop()


def settings(**server: Any) -> Settings:
    """Settings with an agent and these server options."""
    return Settings(agent=Agent(id="agent_1"), server=Server(**server))
