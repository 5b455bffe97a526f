"""One attempt at a connection in the caller's thread, for checks; the link's own are interruptible (see `worker`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from device_agent.link.dial import Dialer, Resolver, resolve
from device_agent.link.waiting import Attempt
from device_agent.runtime.wakeup import Wakeup


@contextmanager
def one_attempt(ca_file: str, seconds: float, resolver: Resolver = resolve) -> Iterator[tuple[Dialer, Attempt]]:
    """For a `with` block: nothing in it blocks for longer than `seconds` in all; then `Overdue` is raised."""
    wakeup = Wakeup()
    try:
        yield Dialer(wakeup, ca_file, resolver), Attempt(wakeup, seconds, time.monotonic, aborted=lambda: False)
    finally:
        wakeup.close()
