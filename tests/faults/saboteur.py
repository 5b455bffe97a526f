"""Faults of our own making inside the started program: it loads this file as tools, and $SABOTAGE names what to spoil.

Each shows that a row's witness sees what it is there to see. No agent could call any of these.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from typing import Any

from device_agent.core.retry import Retry
from device_agent.link import dial, liveness, session, worker
from device_agent.system.log import QueueingHandler


def leak() -> None:
    """Every connection leaves a descriptor behind."""
    honest = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        os.dup(self.fileno())
        honest(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign]


def die_of_hunger() -> None:
    """What the memory does not suffice for ends the process."""
    honest = worker.end_of

    def end_of(error: BaseException) -> Any:
        return os._exit(1) if isinstance(error, MemoryError) else honest(error)

    worker.end_of = session.end_of = end_of


def patient() -> None:
    """No deadline of the link."""
    worker.CONNECT_S = 60.0
    for name in ("METADATA_S", "SILENCE_S", "ACK_S", "STALL_S"):
        setattr(liveness, name, 60.0)


def hammer() -> None:
    """Whatever the server says, the next attempt comes at once."""
    Retry.delay = lambda *_, **__: 0.3  # type: ignore[method-assign]


def idle() -> None:
    """After the first failure nobody tries again for a minute."""
    Retry.delay = lambda *_, **__: 60.0  # type: ignore[method-assign]


def trusting() -> None:
    """Any certificate will do."""
    honest = dial.Dialer._make_context

    def make(self: dial.Dialer) -> ssl.SSLContext:
        context = honest(self)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    dial.Dialer._make_context = make  # type: ignore[method-assign]


def sluggish() -> None:
    """The link thread sleeps for 0.1 s in each turn."""
    honest = session.Session._turn

    def turn(self: session.Session, post: Any) -> None:
        threading.Event().wait(0.1)
        honest(self, post)

    session.Session._turn = turn  # type: ignore[method-assign]


def talkative() -> None:
    """Each line of the log is written by the thread that has it."""
    QueueingHandler.emit = lambda self, record: print(self.format(record), flush=True)  # type: ignore[method-assign]


globals()[os.environ["SABOTAGE"]]()
