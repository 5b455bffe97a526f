"""The thread that serves the control socket; the owner of all its connections."""

from __future__ import annotations

import logging
import os
import pwd
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_agent.config.reload import Change
from device_agent.control import LINE_BYTES
from device_agent.control.requests import (
    NEEDS_CONVERSATION,
    RELOAD,
    STATUS,
    SUBSCRIBE,
    BadRequest,
    answer,
    news,
    parse,
    refusal,
)
from device_agent.core import events as e
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link
from device_agent.errors import DeviceAgentError
from device_agent.protocol import messages as m
from device_agent.runtime.deadline import Clock
from device_agent.runtime.wakeup import Wakeup
from device_agent.runtime.worker import Worker

log = logging.getLogger(__name__)

CLIENTS = 16
BACKLOG_BYTES = 65_536  # a client that does not read is let go
FULL_S = 0.2
NEWS = 256  # waiting for the thread; then the oldest make room
LEVEL_EVERY_S = 0.1
REQUESTS_PER_S = 50
_CREDENTIALS = struct.Struct("3i")


@dataclass(slots=True, eq=False)
class Connection:
    """One client."""

    socket: socket.socket
    read: bytes = b""
    write: bytes = b""
    subscribed: bool = False
    second: int = 0
    requests: int = 0


@dataclass(slots=True)
class Facts:
    """What the server asks of the device; each may be called from its thread at any time."""

    post: Callable[[e.Event], None]
    snapshot: Callable[[], Snapshot]
    status: Callable[[], Mapping[str, Any]]
    captions: bool = False
    """Whether subscribers may hear what is said."""
    reload: Callable[[], Change] | None = None
    """Reads the configuration again; raises `ConfigError`."""


class Control(Worker):
    """Thread "control". Blocks only in `poll`, ≤ 0.7 s, which news, orders and the stop end; no call on a socket waits.
    While there is no descriptor for a client it rests 0.2 s.

    A malformed line is answered with its reason and counted against its sender alone; a line longer than 4 kB, a
    foreign user, a client that does not read: the connection is closed.
    """

    limit_s = 1.8
    reload_s = 6.0

    def __init__(
        self,
        path: Path,
        facts: Facts,
        on_failure: Callable[[str, BaseException], None],
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__("control", on_failure, clock)
        self._path = path
        self._facts = facts
        self._wakeup = Wakeup()
        self._listener: socket.socket | None = None
        self._news: deque[bytes] = deque(maxlen=NEWS)
        self._clients: dict[int, Connection] = {}
        self._poller = select.poll()
        self._shown = Snapshot()
        self._subscribers = 0
        self._level_at = 0.0

    # ------------------------------------------------------------------------------- the dispatcher's thread
    def observe(self, now: float, event: e.Event, commands: Sequence[object], snapshot: Snapshot) -> None:
        """An observer: what subscribers hear of."""
        before, self._shown = self._shown, snapshot  # also while nobody listens: who comes later hears of each change
        if not self._subscribers:
            return
        told = [news("state", **self._facts.status())] if snapshot != before else []
        if isinstance(event, e.Frame) and now - self._level_at >= LEVEL_EVERY_S:
            self._level_at = now
            told.append(news("level", microphone=round(event.level, 1)))
        elif self._facts.captions and isinstance(event, e.ServerSaid) and (caption := _caption(event.message)):
            told.append(caption)
        if told:
            self._news += told
            self._wakeup.set()

    def unblock(self) -> None:
        self._wakeup.set()

    def abandon(self) -> None:
        """Nobody is let in any more, although the thread hangs: another may have its place. Any thread."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------------------------- the control thread
    def run(self) -> None:
        try:
            listener = self._listener = listen(self._path)
            mine = self._path.stat().st_ino
        except OSError as error:
            log.warning("control.off path=%s reason=%r", self._path, error.strerror)
            self.beat("off", due=False)
            self.stopping.wait()
            return
        try:
            self._serve(listener)
        finally:
            for client in list(self._clients.values()):
                self._drop(client)
            listener.close()
            if self._path.exists() and self._path.stat().st_ino == mine:  # not of who has taken our place
                self._path.unlink(missing_ok=True)

    def _serve(self, listener: socket.socket) -> None:
        poller = self._poller
        poller.register(listener, select.POLLIN)
        poller.register(self._wakeup, select.POLLIN)
        while not self.stopping.is_set():
            self.beat("serving", due=True)
            for number, events in poller.poll(700):
                if number == listener.fileno():
                    self._accept(listener, poller)
                elif number == self._wakeup.fileno():
                    self._wakeup.clear()
                elif number in self._clients:
                    self._turn(self._clients[number], events)
            self._spread()
            self._tend(poller)

    def _accept(self, listener: socket.socket, poller: select.poll) -> None:
        try:
            accepted, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor to be had: who asks waits in the queue, and we do not spin
            log.warning("control.full reason=%r", error.strerror)
            self.stopping.wait(FULL_S)
            return
        accepted.setblocking(False)
        if len(self._clients) >= CLIENTS or not allowed(accepted, self._path):
            log.warning("control.refused clients=%d", len(self._clients))
            accepted.close()
            return
        self._clients[accepted.fileno()] = Connection(accepted)
        poller.register(accepted, select.POLLIN)

    def _turn(self, client: Connection, events: int) -> None:
        try:
            if events & select.POLLOUT:
                client.write = client.write[client.socket.send(client.write) :]
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                data = client.socket.recv(LINE_BYTES)
                if not data:
                    raise ConnectionError
                client.read += data
                self._read(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _read(self, client: Connection) -> None:
        *lines, client.read = client.read.split(b"\n")
        if len(client.read) > LINE_BYTES:
            raise ConnectionError
        for line in lines:
            second = int(self.clock())
            client.requests = client.requests + 1 if second == client.second else 1
            client.second = second
            if client.requests > REQUESTS_PER_S:
                client.write += refusal(f"more than {REQUESTS_PER_S} requests in a second")
            else:
                client.write += self._answer(client, line)

    def _answer(self, client: Connection, line: bytes) -> bytes:
        try:
            wish, event = parse(line)
        except BadRequest as error:
            return refusal(str(error))
        if wish == STATUS:
            return answer(**self._facts.status())
        if wish == RELOAD:
            return self._reload()
        if wish == SUBSCRIBE:
            client.subscribed = True
            self._subscribers = sum(one.subscribed for one in self._clients.values())
            return answer() + news("state", **self._facts.status())
        if wish in NEEDS_CONVERSATION and self._facts.snapshot().link is not Link.READY:
            return refusal("no conversation is open")
        if event is not None:
            self._facts.post(event)
        return answer()

    def _reload(self) -> bytes:
        """Reads some small files: a memory card that is slow holds up nothing but this thread."""
        if self._facts.reload is None:
            return refusal("this device cannot read its configuration again")
        self.limit_s = self.reload_s
        self.beat("reloading", due=True)
        try:
            change = self._facts.reload()
        except DeviceAgentError as error:  # a mistake in it, or a file that cannot be read
            return refusal("; ".join(str(error).splitlines()))
        finally:
            self.beat("serving", due=True)
            self.limit_s = Control.limit_s
        return answer(live=change.live, restart=change.later)

    def _spread(self) -> None:
        lines = b""
        while self._news:
            lines += self._news.popleft()
        for client in self._clients.values():
            if client.subscribed:
                client.write += lines

    def _tend(self, poller: select.poll) -> None:
        """Drop who does not read, and wait for room where something is to be written."""
        for number, client in list(self._clients.items()):
            if len(client.write) > BACKLOG_BYTES or client.socket.fileno() < 0:
                self._drop(client)
            else:
                poller.modify(number, select.POLLIN | (select.POLLOUT if client.write else 0))

    def _drop(self, client: Connection) -> None:
        number = client.socket.fileno()
        if self._clients.pop(number, None) is not None:
            self._poller.unregister(number)  # a closed one left there would make every `poll` return at once
        client.socket.close()
        self._subscribers = sum(one.subscribed for one in self._clients.values())


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, for its group. Raises OSError, also where another device listens already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        else:
            raise FileExistsError(17, "another device listens there")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(CLIENTS)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def allowed(accepted: socket.socket, path: Path) -> bool:
    """Root, the service's own user, and members of the socket's group."""
    _, user, _ = _CREDENTIALS.unpack(
        accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )  # fmt: skip
    if user in (0, os.geteuid()):
        return True
    try:
        name = pwd.getpwuid(user)
        return path.stat().st_gid in os.getgrouplist(name.pw_name, name.pw_gid)
    except (KeyError, OSError):
        return False


def _caption(message: object) -> bytes | None:
    if isinstance(message, m.UserTranscript):
        return news("caption", who="user", text=message.text)
    if isinstance(message, m.AgentResponse):
        return news("caption", who="agent", text=message.text)
    return None
