"""The only place that builds and starts things: order, heartbeats, replacement, and the two-phase stop.

Owner thread: main. It blocks only in its inbox (a `SimpleQueue`, into which a signal handler may put as well),
and never longer than until the next look at the heartbeats.
"""

from __future__ import annotations

import faulthandler
import logging
import random
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from device_agent.audio.capture import Capture
from device_agent.audio.devices import Devices
from device_agent.audio.playback import Playback
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link
from device_agent.dispatcher import Dispatcher, Observer
from device_agent.link.worker import Link as LinkWorker
from device_agent.link.record import Recorder
from device_agent.panel.panel import Panel
from device_agent.panel.pins import choose_backend
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.mailbox import Mailbox
from device_agent.runtime.ring import CaptureRing, PlaybackRing
from device_agent.runtime.worker import Worker
from device_agent.system.notify import Notifier
from device_agent.tools.registry import load_files
from device_agent.tools.runner import ToolRunner

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often heartbeats are looked at
GOODBYE_S = 0.2  # for the close frame and its answer
STOP_S = 2.0
EXIT_S = 6.0  # whatever happens, the process ends
REPLACEMENTS = 3  # of one worker …
REPLACEMENTS_S = 600.0  # … within this time; then the process restarts
INBOX_LIMIT = 2048
EXIT_FAULT = 70


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """A worker's thread ended by itself."""

    name: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Signalled:
    number: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line for stdout; only the main thread writes it."""

    text: str


class Inbox:
    """What other threads and signal handlers tell the main thread. Lines beyond 2,048 are dropped and counted."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[WorkerFailed | Signalled | Line] = SimpleQueue()
        self.dropped = 0

    def put(self, message: WorkerFailed | Signalled | Line) -> None:
        if isinstance(message, Line) and self._queue.qsize() >= INBOX_LIMIT:
            self.dropped += 1
        else:
            self._queue.put(message)

    def get(self, timeout: float) -> WorkerFailed | Signalled | Line | None:
        try:
            return self._queue.get(timeout=timeout)
        except Empty:
            return None


class Supervisor:
    """Builds the device and runs it until a signal. Workers start in the order of `_factories`, and stop in reverse."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        inbox: Inbox,
        write: Callable[[str], None],
        observers: tuple[Observer, ...] = (),
        notifier: Notifier | None = None,
        record_wire: Path | None = None,
    ) -> None:
        """Raises `ConfigError` for client tools that cannot be loaded, before anything is started."""
        self._settings = settings
        self._inbox = inbox
        self._write = write
        self._notifier = notifier or Notifier({})
        self._observers = (*observers, self._observe)
        self._mailbox = Mailbox()
        self._capture_ring, self._playback_ring = CaptureRing(), PlaybackRing()
        self._latch = MuteLatch(closed=settings.panel.mute_pin >= 0)  # muted until the switch was read
        self._tools = ToolRunner(load_files(settings.tools.files), settings.tools, self._mailbox.post)
        self._factories = self._build(settings, secrets, record_wire)
        self._workers: dict[str, Any] = {}
        self._replaced: dict[str, deque[float]] = {}
        self._orders: dict[type, c.Command] = {}
        self._snapshot = Snapshot()
        self._conn = 0
        self._gone = threading.Event()  # no connection: set by the dispatcher, waited for by the stop
        self._gone.set()
        self._status = ""
        self._exit_code: int | None = None

    def _build(self, settings: Settings, secrets: Secrets, record_wire: Path | None) -> dict[str, Callable[[], Worker]]:
        """How to make each worker; called once at the start, and again where one must be replaced."""
        post, failed = self._mailbox.post, self.failed
        devices = Devices(settings.audio)
        recorder = Recorder(record_wire) if record_wire else None
        rings = self._capture_ring, self._playback_ring
        factories: dict[str, Callable[[], Worker]] = {
            "link": lambda: LinkWorker(settings, secrets, *rings, self._latch, post, failed, recorder=recorder),
            "playback": lambda: Playback(devices, self._playback_ring, post, failed),
            "capture": lambda: Capture(
                devices, settings.audio.period_ms, self._capture_ring, self._latch, post, failed
            ),
        }
        if choose_backend(settings.panel) != "none":
            factories["panel"] = lambda: Panel(settings.panel, post, self._latch, failed)
        return factories

    # ------------------------------------------------------------------------------- life
    def run(self) -> int:
        """Start all, watch, stop all; returns the exit code."""
        self._install_signals()
        conversation = Conversation(self._settings, random.Random().random)
        dispatcher = Dispatcher(conversation, self._mailbox, self._performers(), self._observers, self.failed)
        for name, factory in self._factories.items():
            self._workers[name] = factory()
            self._workers[name].start()
        self._workers["dispatcher"] = dispatcher
        if self._latch.closed:
            self._mailbox.post(e.MuteSwitch(True))
        self._mailbox.post(e.Start())
        dispatcher.start()
        self._notifier.ready()
        while self._exit_code is None:
            self._turn()
        return self._stop()

    def failed(self, name: str, error: BaseException) -> None:
        """Called by a worker's thread that ends by itself."""
        self._inbox.put(WorkerFailed(name, error))

    def _install_signals(self) -> None:
        # The handlers only put: anything that takes a lock could meet the main thread holding it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda n, _: self._inbox.put(Signalled(n)))
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        threading.excepthook = lambda args: self._inbox.put(
            WorkerFailed(args.thread.name if args.thread else "?", args.exc_value or RuntimeError("unknown"))
        )

    def _turn(self) -> None:
        message = self._inbox.get(timeout=LOOK_S)
        if isinstance(message, Line):
            self._write(message.text)
            return
        if isinstance(message, Signalled):
            self._exit_code = 0
        elif isinstance(message, WorkerFailed):
            log.error("worker.failed name=%s error=%r", message.name, message.error, exc_info=message.error)
            self._replace(message.name)
        self._watch()

    # ------------------------------------------------------------------------------- supervision
    def _watch(self) -> None:
        """Only progress feeds the watchdog."""
        now = time.monotonic()
        healthy = self._mailbox.overflow == 0
        for name, worker in list(self._workers.items()):
            if worker.overdue(now):
                healthy = self._escalate(name, worker, now) and healthy
        if healthy:
            self._notifier.watchdog()
        status = self._describe()
        if status != self._status:
            self._status = status
            self._notifier.status(status)

    def _escalate(self, name: str, worker: Worker, now: float) -> bool:
        """Abort what the worker hangs in; if that does not help, replace it. False: it cannot be helped here."""
        late = now - worker.heart.at
        log.error("worker.overdue name=%s state=%r seconds=%.1f", name, worker.heart.state, late)
        if late <= 2 * worker.limit_s:
            worker.unblock()
            return True
        faulthandler.dump_traceback(all_threads=True)
        return self._replace(name)

    def _replace(self, name: str) -> bool:
        """Put a new worker in the place of a dead or stuck one, and give it its standing orders."""
        recent = self._replaced.setdefault(name, deque())
        now = time.monotonic()
        while recent and now - recent[0] > REPLACEMENTS_S:
            recent.popleft()
        if name not in self._factories or len(recent) >= REPLACEMENTS:
            self._exit_code = EXIT_FAULT
            return False
        recent.append(now)
        self._workers[name].request_stop()
        worker = self._workers[name] = self._factories[name]()
        worker.start()
        for order in list(self._orders.values()):
            if PERFORMED_BY.get(type(order)) == name:
                self._performers()[type(order)](order)
        if name == "link":
            self._mailbox.post(e.LinkEnded(self._conn, End(Kind.NETWORK, reason="the link worker was replaced")))
        return True

    def _describe(self) -> str:
        state = self._snapshot
        wrong = state.fault or state.microphone or state.loudspeaker
        return f"{state.indicator.value}{': ' + wrong if wrong else ''}"

    # ------------------------------------------------------------------------------- stop
    def _stop(self) -> int:
        """Two phases under one deadline: say goodbye, signal all, join all. A survivor is a fault."""
        faulthandler.dump_traceback_later(EXIT_S, exit=True)
        self._notifier.stopping()
        self._mailbox.post(e.Stop())
        self._gone.wait(GOODBYE_S)
        deadline = Deadline(STOP_S)
        workers = list(reversed(self._workers.values()))
        for worker in workers:
            worker.request_stop()
        alive = [worker.name for worker in workers if not worker.join(deadline)]
        if not self._tools.close(deadline):
            alive.append("tools")
        self._drain()
        faulthandler.cancel_dump_traceback_later()
        if alive:
            faulthandler.dump_traceback(all_threads=True)
            print(f"device-agent: still running after the stop: {', '.join(alive)}", file=sys.stderr)
            return EXIT_FAULT
        return self._exit_code or 0

    def _drain(self) -> None:
        while (message := self._inbox.get(timeout=0)) is not None:
            if isinstance(message, Line):
                self._write(message.text)

    # ------------------------------------------------------------------------------- wiring
    def _observe(self, now: float, event: e.Event, commands: object, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if isinstance(event, e.Stop | e.LinkEnded) and snapshot.link is Link.DOWN:
            self._gone.set()

    def _performers(self) -> dict[type, Callable[[Any], None]]:
        """Who performs what. Workers are looked up at the call, because they may be replaced."""

        def worker(name: str, method: str) -> Callable[[Any], None]:
            return lambda command: getattr(self._workers[name], method)(command)

        def standing(perform: Callable[[Any], None]) -> Callable[[Any], None]:
            def remember(command: c.Command) -> None:
                self._orders[type(command)] = command
                perform(command)

            return remember

        return {
            c.Connect: self._connect,
            c.Disconnect: worker("link", "disconnect"),
            c.Send: worker("link", "send"),
            c.SendFrames: worker("link", "send_frames"),
            c.SendSilence: worker("link", "send_silence"),
            c.UseMicrophone: standing(lambda order: self._workers["capture"].use(order.on)),
            c.UseLoudspeaker: standing(lambda order: self._workers["playback"].use(order.on)),
            c.WipeCapture: lambda _: self._capture_ring.wipe(),
            c.Play: lambda order: self._playback_ring.play(order.handle),
            c.Discard: lambda order: self._playback_ring.discard(order.handle),
            c.Flush: lambda _: self._playback_ring.flush(),
            c.SetMute: self._mute,
            c.Show: standing(worker("panel", "show")) if "panel" in self._factories else lambda _: None,
            c.RunTool: self._tools.run,
        }

    def _mute(self, order: c.SetMute) -> None:
        if order.muted:
            self._latch.close()
        elif "panel" in self._workers:
            self._workers["panel"].open_latch()  # which knows what the switch says
        else:
            self._latch.open()

    def _connect(self, order: c.Connect) -> None:
        self._conn = order.conn
        self._gone.clear()
        self._workers["link"].connect(order)


PERFORMED_BY = {c.UseMicrophone: "capture", c.UseLoudspeaker: "playback", c.Show: "panel"}
