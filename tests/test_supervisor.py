"""Workers start in order, are watched, replaced and stopped; the watchdog is fed by progress alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import chain, repeat

import pytest

from device_agent.runtime.worker import Worker
from device_agent.supervisor import EXIT_FAULT, Inbox, Line, Signalled, Supervisor, WorkerFailed


class Diary:
    """Stands in for systemd: keeps what it was told, and ends the run after `patience` watchdog pings."""

    def __init__(self, inbox: Inbox, patience: int = 1) -> None:
        self.said: list[str] = []
        self._inbox = inbox
        self._patience = patience

    def ready(self) -> None:
        self.said.append("ready")

    def stopping(self) -> None:
        self.said.append("stopping")

    def status(self, text: str) -> None:
        self.said.append(f"status {text}")

    def watchdog(self) -> None:
        self.said.append("watchdog")
        self._patience -= 1
        if self._patience == 0:
            self._inbox.put(Signalled(signal.SIGTERM))


class Patient(Worker):
    """Waits for its stop, and writes down its life in `log`."""

    def __init__(self, name: str, log: list[str], fail: Callable[[str, BaseException], None]) -> None:
        super().__init__(name, fail)
        self.log = log
        self.limit_s = 1e9

    def run(self) -> None:
        self.log.append(f"{self.name} runs")
        self.beat("waiting", due=False)
        self.stopping.wait()

    def unblock(self) -> None:
        self.log.append(f"{self.name} is stopped" if self.stopping.is_set() else f"{self.name} is aborted")


class Crash(Patient):
    """Ends by itself at once."""

    def run(self) -> None:
        raise OSError("card gone")


class Deaf(Patient):
    """Hears no stop until the test lets it go."""

    def __init__(self, name: str, log: list[str], fail: Callable[[str, BaseException], None]) -> None:
        super().__init__(name, log, fail)
        self.free = threading.Event()

    def run(self) -> None:
        self.beat("stuck", due=True)
        self.free.wait()

    def moved(self) -> bool:
        return False  # whatever this machine makes of a thread that has just begun


class Busy(Deaf):
    """Runs, but comes to nothing."""

    def moved(self) -> bool:
        return True


class Bench:
    """A supervisor with short looks, and what it wrote."""

    def __init__(self, patience: int = 1, stop_s: float = 2.0) -> None:
        self.log: list[str] = []
        self.lines: list[str] = []
        self.inbox = Inbox()
        self.diary = Diary(self.inbox, patience)
        self.supervisor = Supervisor(self.inbox, self.lines.append, self.diary, look_s=0.001, stop_s=stop_s)  # type: ignore[arg-type]

    def worker(self, kind: type[Patient], name: str) -> Patient:
        return kind(name, self.log, self.supervisor.failed)


def test_starts_in_order_and_stops_in_reverse() -> None:
    """What was started last is stopped first, after the goodbye, and a clean stop exits with 0."""
    bench = Bench()
    for name in ("capture", "link"):
        bench.supervisor.add(name, lambda name=name: bench.worker(Patient, name))
    bench.supervisor.goodbye = lambda: bench.log.append("goodbye")
    assert bench.supervisor.run() == 0
    assert [entry for entry in bench.log if "runs" not in entry] == ["goodbye", "link is stopped", "capture is stopped"]
    assert bench.diary.said == ["ready", "watchdog", "stopping"]


def test_a_failed_worker_is_replaced_and_gets_its_orders_again() -> None:
    """The end of a worker's thread is noticed; another takes its place and its standing orders."""
    bench = Bench(patience=3)
    kinds = iter([Crash, Patient])
    bench.supervisor.add("capture", lambda: bench.worker(next(kinds), "capture"), lambda: bench.log.append("again"))
    assert bench.supervisor.run() == 0
    assert "again" in bench.log


def test_a_replaced_worker_that_fails_late_harms_nobody() -> None:
    """The thread that was given up may end with an error at last: the one in its place stays."""
    bench = Bench(patience=2)
    made: list[Patient] = []

    def make() -> Patient:
        made.append(bench.worker(Patient, "capture"))
        return made[-1]

    bench.supervisor.add("capture", make)
    bench.inbox.put(WorkerFailed("capture", OSError("too late"), ident=1))
    assert bench.supervisor.run() == 0
    assert len(made) == 1


def test_a_chatty_log_does_not_starve_the_watchdog() -> None:
    """Heartbeats are looked at by the clock, however many lines there are to write."""
    bench = Bench()
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    for number in range(2000):
        bench.inbox.put(Line(str(number)))
    pings: list[int] = []
    bench.diary.watchdog = lambda: pings.append(len(bench.lines)) or bench.inbox.put(Signalled(signal.SIGTERM))  # type: ignore[method-assign,func-returns-value]
    assert bench.supervisor.run() == 0
    assert pings[0] < 2000


def test_workers_are_stopped_when_a_later_one_cannot_be_built() -> None:
    """The reason reaches the caller, and nothing is left running."""
    bench = Bench()

    def refuse() -> Worker:
        raise OSError("no room")

    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    bench.supervisor.add("link", refuse)
    with pytest.raises(OSError, match="no room"):
        bench.supervisor.run()
    assert not bench.supervisor.worker("capture").alive


def test_a_worker_that_fails_too_often_ends_the_process() -> None:
    """After three replacements within ten minutes the process exits with 70, so that systemd starts it anew."""
    bench = Bench(patience=1000)
    made: list[Patient] = []

    def make() -> Patient:
        made.append(bench.worker(Crash, "capture"))
        return made[-1]

    bench.supervisor.add("capture", make)
    assert bench.supervisor.run() == EXIT_FAULT
    assert len(made) == 4


def test_the_dispatcher_is_never_replaced() -> None:
    """The failure of an irreplaceable worker is an ordered stop with exit code 70."""
    bench = Bench(patience=1000)
    bench.supervisor.add_irreplaceable(bench.worker(Crash, "dispatcher"))
    assert bench.supervisor.run() == EXIT_FAULT


class Sleeper:
    """A clock for a supervisor that waits in earnest for a millisecond at most, and then believes what it is told."""

    def __init__(self, bench: Bench, oversleeps: Callable[[int], float]) -> None:
        self.now = 0.0
        self.looks: list[float] = []
        self._oversleeps = oversleeps
        self._honest, bench.inbox.get = bench.inbox.get, self._get  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self.now

    def _get(self, timeout: float) -> object:
        message = self._honest(0)
        if message is None:
            self.now += timeout + self._oversleeps(len(self.looks))
            self.looks.append(self.now)
        return message


def watched(oversleeps: Callable[[int], float], kind: type[Deaf] = Deaf) -> tuple[list[str], list[float]]:
    """What becomes of a worker that stands still from 0 on, and when heartbeats are looked at."""
    bench = Bench(patience=8)
    clock = Sleeper(bench, oversleeps)
    stuck = bench.worker(kind, "link")
    stuck.limit_s, stuck.clock = 1.0, clock
    kinds = iter([stuck, bench.worker(Patient, "link")])
    supervisor = Supervisor(bench.inbox, bench.lines.append, bench.diary, clock=clock, look_s=0.9)  # type: ignore[arg-type]
    supervisor.add("link", lambda: next(kinds))
    assert supervisor.run() == 0
    stuck.free.set()  # type: ignore[attr-defined]
    return bench.log, [round(at, 1) for at in clock.looks]


def test_a_stuck_worker_is_aborted_then_replaced() -> None:
    """A beat that is due and does not come: first what the worker hangs in is aborted, half a limit later it is
    replaced; each is looked for when it is due, whatever the rhythm of looks."""
    log, looks = watched(lambda look: 0.0)
    assert log[:3] == ["link is aborted", "link is stopped", "link runs"]
    assert looks[:4] == [0.0, 0.9, 1.0, 1.5]


def test_who_moves_is_given_more_time() -> None:
    """A thread that the kernel sees run does not stand still, but late is late: it is replaced after three limits."""
    log, looks = watched(lambda look: 0.0, Busy)
    assert log[: log.index("link is stopped")] == ["link is aborted"] * 3
    assert looks[:6] == [0.0, 0.9, 1.0, 1.5, 2.4, 3.3]


def test_who_oversleeps_blames_nobody() -> None:
    """A stop of the whole process, in which nobody could beat, counts for nobody: the limit begins after it."""
    log, looks = watched(lambda look: 5.0 if look == 1 else 0.0)
    assert log[:3] == ["link is aborted", "link is stopped", "link runs"]
    assert looks[:5] == [0.0, 5.9, 6.8, 6.9, 7.4]


def test_a_machine_that_is_always_late_hides_nobody_who_hangs() -> None:
    """Only two oversleeps in a row are an excuse."""
    log, looks = watched(lambda look: 0.5)
    assert log[:3] == ["link is aborted", "link is stopped", "link runs"]
    assert looks[3] < 8


def test_a_worker_that_keeps_all_others_out_ends_the_process() -> None:
    """Stuck where no replacement could work either: an ordered stop with exit code 70, as soon as that is known."""
    now, made = [0.0], []
    bench = Bench(patience=1000, stop_s=0.05)

    class Inside(Deaf):
        replaceable = False

    def make() -> Patient:
        made.append(bench.worker(Inside, "playback"))
        made[-1].limit_s, made[-1].clock = 3.0, lambda: now[0]
        return made[-1]

    supervisor = Supervisor(bench.inbox, bench.lines.append, bench.diary, lambda: now[0], look_s=0.001, stop_s=0.05)  # type: ignore[arg-type]
    supervisor.add("playback", make)
    supervisor.look = lambda: now.append(now.pop() + 2.0)
    assert supervisor.run() == EXIT_FAULT
    assert len(made) == 1
    assert now[0] <= 10.0
    made[0].free.set()  # type: ignore[attr-defined]


def test_a_machine_that_has_no_thread_for_a_replacement_gets_a_new_process() -> None:
    """A replacement that cannot be started is an ordered stop with exit code 70: the others are stopped, too."""
    bench = Bench(patience=1000)

    class Threadless(Patient):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    kinds = iter([Crash, Threadless])
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    bench.supervisor.add("link", lambda: bench.worker(next(kinds), "link"))
    assert bench.supervisor.run() == EXIT_FAULT
    assert "capture is stopped" in bench.log


def test_a_goodbye_that_fails_leaves_nobody_running() -> None:
    """What else was to be done at the end is done."""
    bench = Bench()
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))

    def fail() -> None:
        raise RuntimeError("no")

    bench.supervisor.goodbye = fail
    assert bench.supervisor.run() == 0
    assert "capture is stopped" in bench.log


def test_a_survivor_of_the_stop_is_named() -> None:
    """A thread that does not end by the deadline is a fault: named, and exit code 70."""
    bench = Bench(stop_s=0.05)
    bench.supervisor.add("playback", lambda: bench.worker(Deaf, "playback"))
    assert bench.supervisor.run() == EXIT_FAULT
    assert bench.lines == ["ERROR still running after the stop: playback"]
    bench.supervisor.worker("playback").free.set()  # type: ignore[attr-defined]


def test_an_unhealthy_device_does_not_feed_the_watchdog() -> None:
    """While `healthy` is False no ping goes to systemd."""
    bench = Bench()
    looks = chain((False, False), repeat(True))  # a machine that stands still may look once more before the stop
    seen: list[bool] = []
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))

    def healthy() -> bool:
        seen.append(next(looks))
        return seen[-1]

    bench.supervisor.healthy = healthy
    assert bench.supervisor.run() == 0
    assert seen[:3] == [False, False, True]
    assert bench.diary.said.count("watchdog") == seen.count(True)


def test_status_is_said_once_per_change() -> None:
    """systemd hears a status when it changes, not at every look."""
    bench = Bench(patience=4)
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    texts = iter(["idle", "idle", "speaking", "speaking", "speaking", "speaking"])
    bench.supervisor.status = lambda: next(texts)
    bench.supervisor.run()
    assert [text for text in bench.diary.said if text.startswith("status")] == ["status idle", "status speaking"]


def test_sigterm_ends_the_run() -> None:
    """A real signal to this process stops the supervisor, and the handlers from before are back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    bench = Bench(patience=0)
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    bench.supervisor.status = lambda: os.kill(os.getpid(), signal.SIGTERM) or ""
    assert bench.supervisor.run() == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_during_the_start_does_not_wait_for_the_rest_of_it() -> None:
    """What has not been started never is; what has been is stopped."""
    bench = Bench()

    def ask_for_the_end() -> Worker:
        os.kill(os.getpid(), signal.SIGTERM)
        return bench.worker(Patient, "link")

    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    bench.supervisor.add("link", ask_for_the_end)
    bench.supervisor.add("playback", lambda: bench.worker(Patient, "playback"))
    assert bench.supervisor.run() == 0
    assert bench.supervisor.find("playback") is None
    assert [entry for entry in bench.log if "runs" not in entry] == ["link is stopped", "capture is stopped"]
    assert bench.diary.said == ["stopping"]


def test_lines_are_written_by_the_main_thread_and_bounded() -> None:
    """Log lines pass through the inbox; more than it holds are dropped and counted, never a reason to wait."""
    inbox = Inbox()
    for number in range(3000):
        inbox.put(Line(str(number)))
    inbox.put(WorkerFailed("link", OSError(), 1))
    assert inbox.dropped == 3000 - 2048
    kept = 0
    while isinstance(inbox.get(0), Line):
        kept += 1
    assert kept == 2048


@pytest.mark.parametrize("name", ["library-thread"])
def test_a_foreign_thread_that_fails_is_logged(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a thread that is nobody's worker reaches the log with the thread's name."""
    bench = Bench()
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))

    def fail() -> None:
        raise ValueError("deep inside")

    def start_one() -> str:
        thread = threading.Thread(target=fail, name=name)
        thread.start()
        thread.join()
        return ""

    bench.supervisor.status = start_one
    bench.supervisor.run()
    assert any(name in record.getMessage() for record in caplog.records)


def test_an_exception_that_nobody_can_catch_is_a_fault() -> None:
    """What a finaliser raises reaches the supervisor, and with it the flight recorder."""
    bench = Bench(patience=2)
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    told: list[tuple[str, bool]] = []
    bench.supervisor.on_fault = lambda reason, asked: told.append((reason, asked))

    class Careless:
        def __del__(self) -> None:
            raise ValueError("in the end")

    bench.supervisor.status = lambda: str(Careless())[:0]
    assert bench.supervisor.run() == 0
    assert "Careless.__del__" in told[0][0]
    assert "in the end" in told[0][0]
    assert not told[0][1]


def test_sigusr2_asks_the_flight_recorder() -> None:
    """A real signal to this process has the recorder written, and the run goes on."""
    bench = Bench(patience=3)
    bench.supervisor.add("capture", lambda: bench.worker(Patient, "capture"))
    told: list[tuple[str, bool]] = []
    bench.supervisor.on_fault = lambda reason, asked: told.append((reason, asked))
    once = iter([True])
    bench.supervisor.status = lambda: os.kill(os.getpid(), signal.SIGUSR2) or "" if next(once, False) else ""
    assert bench.supervisor.run() == 0
    assert told == [("asked for by SIGUSR2", True)]


def test_a_recorder_that_fails_is_no_second_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever `on_fault` raises is logged; the worker is replaced all the same."""
    bench = Bench(patience=3)
    kinds = iter([Crash, Patient])
    bench.supervisor.add("capture", lambda: bench.worker(next(kinds), "capture"))

    def refuse(reason: str, asked: bool) -> None:
        raise OSError("no room")

    bench.supervisor.on_fault = refuse
    assert bench.supervisor.run() == 0
    assert any("fault.untold" in record.getMessage() for record in caplog.records)


HANGS = """
import ctypes, faulthandler
from device_agent import supervisor
from device_agent.runtime.worker import Worker
supervisor.HANG_S = 0.5

class Greedy(Worker):
    def run(self):
        self.stopping.wait(0.3)
        ctypes.PyDLL(None).sleep(30)  # in C, with the interpreter held

class Nobody:
    def ready(self): pass
    stopping = watchdog = ready
    def status(self, text): pass

one = supervisor.Supervisor(supervisor.Inbox(), print, Nobody(), look_s=0.05)
one.add("greedy", lambda: Greedy("greedy", one.failed))
one.run()
"""


def test_who_holds_the_interpreter_in_c_is_shown_and_ends_the_process() -> None:
    """No Python code can run any more: a handler in C writes the stacks, and the process dies of the signal."""
    found = subprocess.run((sys.executable, "-c", HANGS), capture_output=True, text=True, timeout=20)
    assert found.returncode == -signal.SIGALRM
    assert "most recent call first" in found.stderr
    assert "in run" in found.stderr


def test_who_asks_for_a_restart_gets_its_exit_code() -> None:
    """`leave` ends the process in order, with the code that it names."""
    bench = Bench()
    bench.supervisor.leave(75)
    assert bench.supervisor.run() == 75
