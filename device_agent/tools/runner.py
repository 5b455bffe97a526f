"""Runs client tools: each call in a thread of its own, a deadline for each, exactly one answer for each."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from unicodedata import category

from device_agent.config.schema import Tools
from device_agent.core.commands import RunTool
from device_agent.core.events import Event, ToolDone
from device_agent.runtime.deadline import Clock, Deadline
from device_agent.tools.arguments import InvalidArguments, check_size
from device_agent.tools.registry import Registry, Tool

log = logging.getLogger(__name__)

MAX_RESULT = 4096
CUT = " … [cut]"
MAX_WAITING = 32
MAX_STUCK = 8  # threads given up at their deadline and still alive; Python cannot end a thread
RATE_CALLS, RATE_SECONDS = 10, 10.0
REMEMBERED_IDS = 256


@dataclass(frozen=True, slots=True, eq=False)  # each call is itself, whatever its id
class _Call:
    tool: Tool
    command: RunTool
    expires: float


@dataclass(frozen=True, slots=True)
class _Finished:
    call: _Call
    result: str
    is_error: bool


def spawn(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start a daemon thread. Raises RuntimeError where the machine has no more to give."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


class ToolRunner:
    """Performs `RunTool`; every call is answered by exactly one `ToolDone`, but for repeats of a call's id.

    Ownership. `run()` belongs to the dispatcher: it refuses what is refused at once (unknown, repeated, too many,
    too large) and hands the rest to one keeper thread, started with the first call. The keeper alone knows what
    waits, runs and has expired. A tool's thread only puts its result into the keeper's inbox. So whether a call
    ended by its result or by its deadline is decided in one thread, by the order of the inbox, without a lock: a
    result that lies in the inbox when the deadline is looked at has won, any later one finds its call gone.

    The keeper blocks only in reading its inbox, until the next deadline; `close()` wakes it. A tool's thread may
    block for ever in the user's code: at its deadline it is abandoned (it is a daemon) and its place is free again,
    until 8 are stuck; from then on calls are refused, because threads and memory are finite.
    The deadline runs from `run()`, so that waiting for a free place counts too: the agent waits as well.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Tools,
        post: Callable[[Event], None],
        clock: Clock = time.monotonic,
        spawn: Callable[[str, Callable[[], None]], threading.Thread] = spawn,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._post = post
        self._clock = clock
        self._spawn = spawn
        # The dispatcher's:
        self._seen: OrderedDict[tuple[int, str], None] = OrderedDict()
        self._recent: deque[float] = deque(maxlen=RATE_CALLS)
        self._keeper: threading.Thread | None = None
        # The keeper's:
        self._waiting: deque[_Call] = deque()
        self._running: set[_Call] = set()
        self._stuck: set[_Call] = set()
        # Between them:
        self._inbox: SimpleQueue[_Call | _Finished | None] = SimpleQueue()

    # ------------------------------------------------------------------------------- the dispatcher
    def run(self, command: RunTool) -> None:
        """Start a call. Never blocks. A repeated `tool_call_id` of the same connection does nothing."""
        key = (command.conn, command.tool_call_id)
        if key in self._seen:
            return
        self._remember(key)
        now = self._clock()
        tool = self._registry.get(command.name)
        refusal = self._refusal(command, now)
        if tool is None or refusal:
            self._answer(command, refusal or f"There is no tool named {command.name[:64]!r} on this device.", True)
            return
        self._recent.append(now)
        try:
            self._keeper = self._keeper or self._spawn("tools", self._keep)
        except RuntimeError as error:
            self._answer(command, f"The tool cannot start: {error}.", True)
        else:
            self._inbox.put(_Call(tool, command, now + self._settings.timeout_s))

    def close(self, deadline: Deadline) -> bool:
        """End the keeper; calls in flight are abandoned unanswered. False if it is alive at the deadline."""
        if self._keeper is None:
            return True
        self._inbox.put(None)
        self._keeper.join(deadline.remaining())
        return not self._keeper.is_alive()

    def _remember(self, key: tuple[int, str]) -> None:
        self._seen[key] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)

    def _refusal(self, command: RunTool, now: float) -> str:
        if len(self._recent) == RATE_CALLS and now - self._recent[0] < RATE_SECONDS:
            return f"Too many calls: at most {RATE_CALLS} in {RATE_SECONDS:.0f} s."
        try:
            check_size(command.parameters)
        except InvalidArguments as error:
            return f"Invalid parameters: {error}."
        return ""

    # ----------------------------------------------------------------------------------- the keeper
    def _keep(self) -> None:
        while True:
            try:
                item = self._inbox.get(timeout=self._until_next_deadline())
            except Empty:
                self._expire()  # only once the inbox is empty: a result that is already here has won
            else:
                if item is None:
                    return
                if isinstance(item, _Finished):
                    self._finish(item)
                else:
                    self._admit(item)
            self._start_waiting()

    def _until_next_deadline(self) -> float | None:
        calls = [*self._running, *self._waiting]
        return max(0.0, min(call.expires for call in calls) - self._clock()) if calls else None

    def _admit(self, call: _Call) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._answer(call.command, "Too many calls are waiting.", True)
        elif len(self._stuck) >= MAX_STUCK:
            self._answer(call.command, "Too many earlier calls have not come back; this device runs none now.", True)
        else:
            self._waiting.append(call)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._settings.workers:
            call = self._waiting.popleft()
            try:
                self._spawn(f"tool-{call.tool.name}", partial(self._work, call))
            except RuntimeError as error:  # no more threads: the answer, and not the keeper, must say so
                self._answer(call.command, f"The tool cannot start: {error}.", True)
            else:
                self._running.add(call)  # its result can only be read by this thread, later

    def _finish(self, done: _Finished) -> None:
        self._stuck.discard(done.call)
        if done.call in self._running:
            self._running.remove(done.call)
            self._answer(done.call.command, done.result, done.is_error)

    def _expire(self) -> None:
        now = self._clock()
        late = [call for call in (*self._running, *self._waiting) if call.expires <= now]
        for call in late:
            if call in self._running:
                self._running.remove(call)
                self._stuck.add(call)
            else:
                self._waiting.remove(call)
            text = f"{call.tool.name} did not answer within {self._settings.timeout_s:g} s."
            self._answer(call.command, text, True, "client_timeout")

    # --------------------------------------------------------------------------------- a tool's thread
    def _work(self, call: _Call) -> None:
        try:
            result, is_error = as_text(call.tool.call(call.command.parameters)), False
        except InvalidArguments as error:
            result, is_error = f"Invalid parameters: {error}.", True
        except BaseException as error:  # a tool that ends its thread (SystemExit) must be answered too
            log.warning("tool %s failed", call.tool.name, exc_info=error)
            result, is_error = f"{type(error).__name__}: {error}", True
        self._inbox.put(_Finished(call, cut(result), is_error))

    def _answer(self, command: RunTool, text: str, is_error: bool, error_type: str = "external_client") -> None:
        kind = error_type if is_error else ""
        self._post(ToolDone(command.conn, command.tool_call_id, text, is_error=is_error, error_type=kind))


def as_text(result: Any) -> str:
    """What a tool returned, as the agent reads it: text as it is, nothing as "done", anything else as JSON."""
    if result is None:
        return "done"
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=_jsonable)


def _jsonable(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


def cut(text: str) -> str:
    """At most 4 kB of UTF-8 without control characters; what was cut is marked."""
    short = "".join(c for c in text[:MAX_RESULT] if c in "\n\t" or category(c) not in ("Cc", "Cs"))
    data = short.encode()
    if len(text) <= MAX_RESULT and len(data) <= MAX_RESULT:
        return data.decode()
    return data[: MAX_RESULT - len(CUT.encode())].decode("utf-8", "ignore") + CUT
