"""A failed measurement counts if it fails again.

Virtual cards are played by software, and so are the clients that the slow tiers drive: on a shared machine, whose host
takes a core away for a moment without a trace, they have holes and delays of their own, which say nothing about the
product. A test that fails is run again, twice at most, and says so with what was seen of the machine's hiccups: a
fault of the product stays. How often sound has holes is measured in `benchmarks`, not here.
A conftest takes the hook by importing it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from _pytest.runner import runtestprotocol

T = TypeVar("T")
TRIES = 3
BEAT_S = 0.005
HICCUP_S = 0.008  # a loudspeaker's lead of 30 ms leaves so much when the sound server takes 20 ms at once
STALL_S = 0.025


class Metronome:
    """Counts how often this machine stood still, by a thread that should beat every 5 ms.

    A `stall` tears a hole into any sound; a `hiccup` may: reason enough to measure again, but no excuse.
    """

    def __init__(self) -> None:
        self.stalls = self.hiccups = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="metronome", daemon=True)

    def __enter__(self) -> Metronome:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._end.wait(BEAT_S):
            now = time.monotonic()
            self.stalls += now - last > BEAT_S + STALL_S
            self.hiccups += now - last > BEAT_S + HICCUP_S
            last = now


def steadily(make: Callable[[], Iterator[T]], check: Callable[[T], None]) -> Iterator[T]:
    """A fixture's body: what the generator `make` yields, made anew if it fails, or `check` does."""
    for attempt in range(1, TRIES + 1):
        made, found = make(), []
        try:
            with Metronome() as metronome:
                found.append(next(made))
            check(found[0])
        except Exception as fault:
            if attempt < TRIES:
                print(f"made again, after {metronome.hiccups} hiccups of this machine: {fault!r}")
                made.close()
                continue
            if not found:
                raise
        yield found[0]  # where the check failed, the tests say what is wrong
        made.close()
        return


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run one test, again if it failed."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, TRIES + 1):
        with Metronome() as metronome:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failed = any(report.failed for report in reports)
        if not failed or attempt == TRIES:
            break
        print(f"\n{item.nodeid}: failed, with {metronome.hiccups} hiccups of this machine; measured again")
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
