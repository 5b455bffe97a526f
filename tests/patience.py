"""Waiting for a fact, by looking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from device_agent.errors import DeviceAgentError


def until(holds: Callable[[], Any], timeout: float, what: str) -> Any:
    """What `holds` returns as soon as that is true, looking every 10 ms. Raises `DeviceAgentError` naming `what`."""
    end, pause = time.monotonic() + timeout, threading.Event()
    while not (found := holds()):
        if time.monotonic() > end:
            raise DeviceAgentError(f"{what}: not within {timeout} s")
        pause.wait(0.01)
    return found
