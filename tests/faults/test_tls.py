"""TLS 1.3 records that are no data (tickets, key updates) in the middle of full-duplex traffic, from a real openssl."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from link_peer import METADATA, TEXT, frame, rig, settings, upgrade_answer

from device_agent.bench.authority import Authority
from device_agent.core.commands import Connect, SendSilence
from device_agent.core.events import LinkEnded, LinkOpened, ServerSaid
from device_agent.protocol import messages as m

CONNECTIONS = 300
UPDATES = 6
ALIVE = json.dumps(
    {"type": "agent_response", "agent_response_event": {"agent_response": "here", "event_id": 1}}
).encode()


class OpenSSL:
    """`openssl s_server`, whose standard input is what the client reads; a line K makes a key update."""

    def __init__(self, pem: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        # Unbuffered: else its words about a key update may wait for the next ones, if data came with the answer to it.
        command = (
            "stdbuf",
            "-o0",
            "openssl",
            "s_server",
            "-accept",
            f"127.0.0.1:{self.port}",
            "-cert",
            str(pem),
            "-key",
            str(pem),
            "-tls1_3",
        )
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self.said = b""
        self.read_until(rb"ACCEPT")

    def read_until(self, pattern: bytes) -> bytes:
        """What it printed until then: its own words and what the client sent."""
        assert self.process.stdout is not None
        end = time.monotonic() + 10
        while not (found := re.search(pattern, self.said, re.S)):
            assert time.monotonic() < end, self.said[-500:]
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                self.said += os.read(self.process.stdout.fileno(), 65536)
        text, self.said = self.said[: found.end()], self.said[found.end() :]
        return text

    def send(self, data: bytes) -> None:
        """One write; wait for its effect before the next, because commands are known by the first byte of a read."""
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), data)

    def update_key(self) -> None:
        self.send(b"K\n")
        self.read_until(rb"SSL_do_handshake -> 1")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def test_row_31_key_updates_under_load(tmp_path: Path, figure: Callable[[int, str], None]) -> None:
    """Three hundred connections that send from the first moment, each through six key updates: none is lost."""
    authority = Authority(tmp_path)
    server = OpenSSL(authority.certificate("own", "127.0.0.1"))
    chosen = settings(url=f"wss://127.0.0.1:{server.port}", ca_file=str(authority.ca_file))
    lost = updates = 0
    try:
        with rig(settings=replace(chosen)) as bed:
            for conn in range(1, CONNECTIONS + 1):
                bed.link.connect(Connect(conn))
                request = server.read_until(rb"GET .*?\r\n\r\n")
                server.send(upgrade_answer(request[request.index(b"GET ") :].decode()))
                assert bed.events.next(LinkOpened).conn == conn
                server.send(frame(TEXT, json.dumps(METADATA).encode()))
                assert isinstance(bed.events.next(ServerSaid).message, m.Metadata)
                for _ in range(UPDATES):
                    bed.link.send_silence(SendSilence(conn, 4))
                    bed.link.rouse()
                    server.update_key()
                    updates += 1
                server.send(frame(TEXT, ALIVE))
                while bed.events.next(ServerSaid).message != m.AgentResponse("here", 1):
                    pass
                lost += any(isinstance(event, LinkEnded) and event.conn == conn for event in bed.events.seen)
                bed.hang_up(conn)
    finally:
        server.close()
    figure(31, f"{lost} of {CONNECTIONS} connections lost in {updates} key updates")
    assert lost == 0
