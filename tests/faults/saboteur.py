"""Faults of our own making inside the started program: it loads this file as tools, and $SABOTAGE names what to spoil.

Each shows that a row's witness sees what it is there to see. No agent could call any of these.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from device_agent.link import session, worker


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


globals()[os.environ["SABOTAGE"]]()
