"""A worker: heartbeat, two-phase stop, and no silent end."""

from __future__ import annotations

import threading

import pytest
from fakes import FakeClock, Rendezvous

from device_agent.runtime.deadline import Deadline
from device_agent.runtime.worker import Worker, rests


class Waiter(Worker):
    """Waits at a rendezvous, then until it is asked to stop, or raises."""

    def __init__(self, error: BaseException | None = None, obeys: bool = True, clock: FakeClock | None = None) -> None:
        self.failures: list[tuple[str, BaseException]] = []
        self.failed = threading.Event()
        super().__init__("waiter", self.note, clock or FakeClock())
        self.there = Rendezvous()
        self._error = error
        self._obeys = obeys
        self._stop = threading.Event()

    def note(self, name: str, error: BaseException) -> None:
        self.failures.append((name, error))
        self.failed.set()

    def run(self) -> None:
        self.beat("working", due=False)
        self.there.arrive()
        if self._error is not None:
            raise self._error
        if self._obeys:
            self._stop.wait()

    def unblock(self) -> None:
        self._stop.set()


def test_stops_in_two_phases() -> None:
    """Asked to stop, it is unblocked at once; joined, it is gone; a stop that was asked for is no failure."""
    worker = Waiter()
    worker.start()
    assert worker.there.reached()
    assert worker.alive
    assert worker.ident is not None
    worker.there.release()
    worker.request_stop()
    assert worker.join(Deadline(5.0))
    assert not worker.alive
    assert worker.failures == []


def test_join_gives_up_at_the_deadline() -> None:
    """A worker that does not come back is reported as alive, and the caller goes on."""
    worker = Waiter()
    worker.start()
    assert worker.there.reached()
    worker.request_stop()
    assert not worker.join(Deadline(0.0))
    worker.there.release()
    assert worker.join(Deadline(5.0))


def test_a_worker_that_was_never_started_is_gone() -> None:
    """Joining before the start is no error."""
    worker = Waiter()
    assert worker.join(Deadline(1.0))
    assert worker.ident is None


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_an_exception_becomes_a_message(error: BaseException) -> None:
    """Whatever ends the thread is told, with the worker's name."""
    worker = Waiter(error)
    worker.start()
    worker.there.release()
    assert worker.join(Deadline(5.0))
    assert worker.failures == [("waiter", error)]


def test_returning_unasked_is_a_failure() -> None:
    """A worker that just returns has failed, too."""
    worker = Waiter(obeys=False)
    worker.start()
    worker.there.release()
    assert worker.failed.wait(5)
    assert "without being asked" in str(worker.failures[0][1])


def test_only_progress_that_is_due_can_be_overdue() -> None:
    """Without a beat for longer than its limit a worker is overdue, unless it said that none is due."""
    clock = FakeClock(10.0)
    worker = Waiter(clock=clock)
    worker.beat("reading", due=True)
    assert (worker.heart.turns, worker.heart.at, worker.heart.state) == (1, 10.0, "reading")
    assert not worker.overdue(9.9 + worker.limit_s)
    assert worker.overdue(10.0 + worker.limit_s)
    assert not worker.overdue(10.0 + worker.limit_s, excused=10.5)
    worker.beat("away", due=False)
    assert not worker.overdue(1e6)


def test_a_worker_has_work() -> None:
    """The base class does nothing by itself."""
    worker = Worker("idle", lambda name, error: None)
    worker.unblock()
    with pytest.raises(NotImplementedError):
        worker.run()


def test_a_thread_that_stands_still_has_not_moved() -> None:
    """The kernel's count of a thread says whether it ran in between; one that has ended stands still."""
    worker = Waiter()
    worker.start()
    assert worker.there.reached()
    deadline = Deadline(5.0)
    while worker.moved() or worker.moved():
        assert not deadline.passed
    worker.there.release()
    worker.request_stop()
    assert worker.join(deadline)
    worker.moved()
    assert not worker.moved()


def test_a_thread_that_runs_has_moved() -> None:
    """Whoever asks runs."""
    assert rests(threading.get_native_id()) == -1
