"""Starts workers in order, watches their heartbeats, replaces what fails, and stops everything in two phases.

Owner thread: main. It blocks only in its inbox (a `SimpleQueue`, into which a signal handler may put as well),
and never longer than until the next look at the heartbeats.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from device_agent.records import record
from device_agent.runtime.deadline import Clock, Deadline
from device_agent.runtime.worker import Worker
from device_agent.system.notify import Notifier

log = logging.getLogger(__name__)

LOOK_S = 1.0  # heartbeats are looked at so often, and as soon as one is missed
PATIENCE = 1.5  # a worker is aborted when its limit has passed, and replaced after so many of them …
MOVING = 3.0  # … or so many, if the kernel has seen it move: it is late, but does not stand still
OVERSLEPT_S = 0.25  # what kept this thread so long may have kept all others, too …
EXCUSES = 2  # … which counts so often in a row: a machine that is always late must not hide who hangs
STOP_S = 2.0
EXIT_S = 6.0  # whatever happens, the process ends
REPLACEMENTS = 3  # of one worker …
REPLACEMENTS_S = 600.0  # … within this time; then the process restarts
INBOX_LIMIT = 2048
EXIT_FAULT = 70
EXIT_AGAIN = 75  # somebody wants the process to be started again
START_S = 30.0
HANG_S = 8.0  # the main thread itself hangs, or C code holds the interpreter: then the process dies with its stacks
STDERR = 2  # the descriptor itself: a dump must not depend on any object


@record
class WorkerFailed:
    """A worker's thread `ident` ended by itself."""

    name: str
    error: BaseException
    ident: int | None


@record
class Signalled:
    """SIGTERM or SIGINT came."""

    number: int


@record
class Leave:
    """End the process in order, with this exit code."""

    code: int


@record
class Fault:
    """Something went wrong in a thread that is nobody's worker; `text` is a line of the log."""

    text: str


@record
class Line:
    """A line for stdout; only the main thread writes it."""

    text: str


Message = WorkerFailed | Signalled | Leave | Fault | Line


class Inbox:
    """What other threads and signal handlers tell the main thread. Lines beyond 2,048 are dropped and counted."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self.dropped = 0

    def put(self, message: Message) -> None:
        """Never blocks; any thread, and signal handlers."""
        if isinstance(message, Line) and self._queue.qsize() >= INBOX_LIMIT:
            self.dropped += 1
        else:
            self._queue.put(message)

    def get(self, timeout: float) -> Message | None:
        try:
            return self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except Empty:
            return None


@dataclass(slots=True)
class Post:
    """A place that a worker holds. `make` builds one; `restore` gives it the orders that hold already.

    Without `make` the worker cannot be replaced: its end is the process's.
    """

    worker: Worker | None
    make: Callable[[], Worker] | None
    restore: Callable[[], None]
    replaced: deque[float] = field(default_factory=lambda: deque(maxlen=REPLACEMENTS))


class Supervisor:
    """Runs what was added until a signal comes or something cannot be helped.

    `goodbye` is called first at the stop and may take a moment; `status` is one line for systemd; while `healthy`
    is False the watchdog is not fed. `on_fault(reason, asked)` is told of each fault, once what can be done is done,
    and of SIGUSR2 (`asked`).

    The main thread has a watchdog of its own: a timer of the kernel that each look winds up. When it runs out, a
    handler in C, which needs no interpreter, writes all stacks, and the process dies.
    """

    def __init__(
        self,
        inbox: Inbox,
        write: Callable[[str], None],
        notifier: Notifier,
        clock: Clock = time.monotonic,
        look_s: float = LOOK_S,
        stop_s: float = STOP_S,
    ) -> None:
        self._inbox = inbox
        self._write = write
        self._notifier = notifier
        self._clock = clock
        self._look_s = look_s
        self._stop_s = stop_s
        self._posts: dict[str, Post] = {}
        self._said = ""
        self._next_look = self._excused = clock()
        self._overslept = 0
        self._exit_code: int | None = None
        self._ending = False
        """A signal has asked for the end."""
        self._shown: set[int | None] = set()  # threads that hang, whose stack was written
        # Now, while it is the journal's: libraries of sound are given another one for as long as they start.
        self._stderr = os.dup(STDERR)
        weakref.finalize(self, os.close, self._stderr)
        self.goodbye: Callable[[], None] = lambda: None
        self.status: Callable[[], str] = lambda: ""
        self.healthy: Callable[[], bool] = lambda: True
        self.on_fault: Callable[[str, bool], object] = lambda reason, asked: None
        self.on_ready: Callable[[], None] = lambda: None
        """Called once, when all workers run."""
        self.look: Callable[[], None] = lambda: None
        """Called with each look at the heartbeats: what else must be seen by the clock."""

    def add(self, name: str, make: Callable[[], Worker], restore: Callable[[], None] = lambda: None) -> None:
        """A worker that `make` builds, now and again when it must be replaced. Started in this order."""
        self._posts[name] = Post(None, make, restore)

    def add_irreplaceable(self, worker: Worker) -> None:
        """A worker whose failure ends the process with exit code 70, so that systemd restarts it."""
        self._posts[worker.name] = Post(worker, None, lambda: None)

    def worker(self, name: str) -> Worker:
        """The worker that holds the post now."""
        worker = self.find(name)
        assert worker is not None, f"{name} is asked for before it was started"
        return worker

    def find(self, name: str) -> Worker | None:
        """As `worker`; None before it was started."""
        return self._posts[name].worker

    def failed(self, name: str, error: BaseException) -> None:
        """Called by the thread of a worker that ends by itself."""
        self._inbox.put(WorkerFailed(name, error, threading.get_ident()))

    def leave(self, code: int) -> None:
        """End in order, with this exit code; any thread."""
        self._inbox.put(Leave(code))

    def run(self) -> int:
        """Start all, watch, stop all. Returns the exit code: 0 after a signal, 70 after a fault, or that of `leave`.

        What keeps a worker from being built is raised again, after those before it have been stopped.
        """
        with self._signals():
            try:
                self._start()
            except BaseException:
                self._stop()
                raise
            if not self._ending:
                self._notifier.ready()
                self.on_ready()
            while self._exit_code is None:
                self._turn()
            return self._stop()

    def _start(self) -> None:
        for post in self._posts.values():
            if self._ending:  # not all that follows has to load first
                self._exit_code = 0
                return
            post.worker = post.worker or (post.make() if post.make else None)
            assert post.worker is not None
            post.worker.start()
            post.restore()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        # The handlers only note: anything that takes a lock could meet the main thread holding it.
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
        before = [signal.signal(number, self._note) for number in numbers]
        thread_hook, threading.excepthook = threading.excepthook, self._thread_failed
        unraisable_hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        faulthandler.enable(self._stderr, all_threads=True)  # SIGABRT, which systemd's watchdog sends, and crashes
        # Not by `faulthandler.register`: it reads the stacks of threads that go on running, and dies of that now and
        # then. A handler in Python holds the interpreter meanwhile.
        stacks = signal.signal(signal.SIGUSR1, lambda *_: faulthandler.dump_traceback(self._stderr, all_threads=True))
        # And then what that signal does by default: the end.
        faulthandler.register(signal.SIGALRM, self._stderr, all_threads=True, chain=True)
        signal.setitimer(signal.ITIMER_REAL, START_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            faulthandler.unregister(signal.SIGALRM)
            faulthandler.enable(STDERR, all_threads=True)
            signal.signal(signal.SIGUSR1, stacks)
            threading.excepthook, sys.unraisablehook = thread_hook, unraisable_hook
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        self._ending = self._ending or number != signal.SIGUSR2
        self._inbox.put(Signalled(number))

    def _thread_failed(self, args: threading.ExceptHookArgs) -> None:
        """A thread that is nobody's worker, as a library may have started."""
        name = args.thread.name if args.thread else "?"
        self._inbox.put(Fault(f"thread.failed name={name} error={args.exc_value!r}"))

    def _unraisable(self, args: sys.UnraisableHookArgs) -> None:
        """An exception where nobody can catch it; maybe with a lock held, so nothing but a message."""
        what = getattr(args.object, "__qualname__", type(args.object).__name__)
        self._inbox.put(Fault(f"unraisable in={what} error={args.exc_value!r}"))

    # ------------------------------------------------------------------------------- watching
    def _turn(self) -> None:
        message = self._inbox.get(timeout=max(0.0, self._next_look - self._clock()))
        if isinstance(message, Line):
            self._write(message.text)
        elif isinstance(message, Signalled):
            self._signalled(message.number)
        elif isinstance(message, Leave):
            self._exit_code = message.code
        elif isinstance(message, WorkerFailed):
            self._bury(message)
        elif isinstance(message, Fault):
            self._fault(message.text)
        # By the clock, not only when the inbox is empty: a chatty log must not keep the watchdog hungry.
        if message is None or self._clock() >= self._next_look:
            self._watch()
            self._next_look = self._when_to_look()

    def _signalled(self, number: int) -> None:
        if number == signal.SIGUSR2:
            self._tell("asked for by SIGUSR2", asked=True)
        else:
            self._exit_code = 0

    def _fault(self, text: str) -> None:
        log.error(text)
        self._tell(text)

    def _tell(self, reason: str, asked: bool = False) -> None:
        try:
            self.on_fault(reason, asked)
        except Exception:  # what reports faults must not be one
            log.exception("fault.untold reason=%r", reason)

    def _bury(self, failed: WorkerFailed) -> None:
        if failed.ident != self.worker(failed.name).ident:
            log.info("worker.ended name=%s error=%r", failed.name, failed.error)  # replaced long ago, and free at last
            return
        log.error("worker.failed name=%s error=%r", failed.name, failed.error, exc_info=failed.error)
        self._replace(failed.name)
        self._tell(f"worker.failed name={failed.name} error={failed.error!r}")

    def _watch(self) -> None:
        """Only progress feeds the watchdog."""
        signal.setitimer(signal.ITIMER_REAL, HANG_S)
        now = self._clock()
        self._overslept = self._overslept + 1 if now - self._next_look > OVERSLEPT_S else 0
        if 0 < self._overslept <= EXCUSES:  # the machine stood still, or this process: nobody is to blame
            self._excused = now
        overdue = [name for name in self._posts if self.worker(name).overdue(now, self._excused)]
        helped = [self._escalate(name, now) for name in overdue]
        if all(helped) and self.healthy():
            self._notifier.watchdog()
        self.look()
        status = self.status()
        if status != self._said:
            self._said = status
            self._notifier.status(status)

    def _when_to_look(self) -> float:
        """In a while; sooner where a worker, if it does not beat, would have to be aborted or replaced by then."""
        now = self._clock()
        moments = [now + self._look_s]
        for worker in (self.worker(name) for name in self._posts):
            left = [limit - worker.late(now, self._excused) for limit in (worker.limit_s, PATIENCE * worker.limit_s)]
            moments += [now + seconds for seconds in left if seconds > 0 and worker.heart.due]
        return min(moments)

    def _escalate(self, name: str, now: float) -> bool:
        """Show where the worker hangs and abort it; if that does not help, replace it. False: it cannot be helped."""
        worker = self.worker(name)
        late = worker.late(now, self._excused)
        log.error("worker.overdue name=%s state=%r seconds=%.1f", name, worker.heart.state, late)
        if worker.ident not in self._shown:  # half-way to its replacement, while it still stands where it hangs
            self._shown.add(worker.ident)
            faulthandler.dump_traceback(self._stderr, all_threads=True)
        moved = worker.moved() and worker.replaceable
        if late < (MOVING if moved else PATIENCE) * worker.limit_s:
            worker.unblock()
            return True
        helped = self._replace(name) if worker.replaceable else self._lose(name, f" ({worker.heart.state})")
        self._tell(f"worker.overdue name={name} state={worker.heart.state!r} seconds={late:.1f}")
        return helped

    def _replace(self, name: str) -> bool:
        """Put a new worker in the place of a dead or stuck one."""
        post, now = self._posts[name], self._clock()
        often = len(post.replaced) == REPLACEMENTS and now - post.replaced[0] < REPLACEMENTS_S
        if post.make is None or often:
            return self._lose(name)
        post.replaced.append(now)
        self.worker(name).request_stop()
        try:
            new = post.make()
            new.start()
        except (RuntimeError, MemoryError, OSError) as error:
            return self._lose(name, f" ({error!r})")  # a machine without threads or memory to give
        post.worker = new
        post.restore()
        return True

    def _lose(self, name: str, why: str = "") -> bool:
        log.error("worker.lost name=%s%s: the process ends", name, why)
        self._exit_code = EXIT_FAULT
        return False

    # ------------------------------------------------------------------------------- stop
    def _stop(self) -> int:
        """Two phases under one deadline: signal all, join all, the last started first. A survivor is a fault."""
        signal.setitimer(signal.ITIMER_REAL, EXIT_S)  # which needs no thread, as faulthandler's own timer does
        self._notifier.stopping()
        try:
            self.goodbye()
        except Exception:  # what can be closed still is
            log.exception("goodbye.failed")
        deadline = Deadline(self._stop_s)
        workers = [post.worker for post in reversed(self._posts.values()) if post.worker is not None]
        for worker in workers:
            worker.request_stop()
        alive = [worker.name for worker in workers if not worker.join(deadline)]
        while isinstance(message := self._inbox.get(timeout=0), Message):
            if isinstance(message, Line):
                self._write(message.text)
            elif isinstance(message, Fault):
                self._fault(message.text)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        if not alive:
            return self._exit_code or 0
        faulthandler.dump_traceback(self._stderr, all_threads=True)
        self._write(f"ERROR still running after the stop: {', '.join(alive)}")
        self._tell(f"still running after the stop: {', '.join(alive)}")
        return EXIT_FAULT
