"""The tool runner: one answer for each call, whatever the tool does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from device_agent.config.schema import Tools
from device_agent.core.commands import RunTool
from device_agent.core.events import Event, ToolDone
from device_agent.runtime.deadline import Deadline
from device_agent.tools.registry import Registry, make_tool
from device_agent.tools.runner import CUT, MAX_STUCK, MAX_WAITING, ToolRunner, as_text, cut, spawn


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A runner with four tools. `gate` lets `wait` go on; `entered` gets a word each time that it begins."""

    def __init__(self, timeout_s: float = 20.0, workers: int = 2, spawn: Any = spawn) -> None:
        self.clock = FakeClock()
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.gate = threading.Event()
        self.entered: SimpleQueue[str] = SimpleQueue()
        self.number = 0

        def wait(word: str) -> str:
            """Waits."""
            self.entered.put(word)
            self.gate.wait(30)
            return word

        def echo(word: str) -> str:
            """Echoes."""
            self.entered.put(word)
            return word

        def fail(how: str) -> None:
            """Fails."""
            raise {"value": ValueError, "exit": SystemExit}[how]("no such lamp")

        def big() -> list[str]:
            """Returns 10 MB."""
            return ["x" * 10_000_000]

        registry = Registry(map(make_tool, (wait, echo, fail, big)))
        settings = Tools(timeout_s=timeout_s, workers=workers)
        self.runner = ToolRunner(registry, settings, self.events.put, self.clock, spawn)

    def call(self, name: str, call_id: str = "", conn: int = 1, **parameters: Any) -> str:
        """Order a call; 10 s of the clock go by before it, so that the rate limit does not matter."""
        self.clock.now += 10
        return self.call_now(name, call_id, conn, **parameters)

    def call_now(self, name: str, call_id: str = "", conn: int = 1, **parameters: Any) -> str:
        self.number += 1
        call_id = call_id or f"call-{self.number}"
        self.runner.run(RunTool(conn, call_id, name, parameters))
        return call_id

    def done(self) -> ToolDone:
        event = self.events.get(timeout=5)
        assert isinstance(event, ToolDone)
        return event

    def nothing_more(self) -> bool:
        try:
            self.events.get(timeout=0.1)
        except Empty:
            return True
        return False


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(**settings))
        return made[-1]

    yield make
    for bench in made:
        bench.gate.set()
        assert bench.runner.close(Deadline(5))


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def test_a_result_goes_back_with_its_call(bench: Bench) -> None:
    """The answer carries the connection, the id and the text."""
    bench.call("echo", "a", conn=7, word="hello")
    assert bench.done() == ToolDone(7, "a", "hello")


def test_no_call_no_thread(bench: Bench) -> None:
    """Threads exist only once a tool was called; closing a runner that never ran is nothing."""
    assert bench.runner._keeper is None
    assert bench.runner.close(Deadline(0))


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("format_disk", {}, "no tool named 'format_disk'"),
        ("echo", {}, "parameters.word"),
        ("echo", {"word": "a", "more": "; rm -rf /"}, "more"),
        ("echo", {"word": 1}, "word"),
        ("echo", {"word": "x" * 2000}, "1024 bytes"),
        ("fail", {"how": "value"}, "ValueError: no such lamp"),
        ("fail", {"how": "exit"}, "SystemExit: no such lamp"),
    ],
)
def test_what_goes_wrong_is_an_error_result(bench: Bench, name: str, parameters: dict[str, Any], text: str) -> None:
    """Unknown, invalid and failing calls are answered as errors, in one line, and never run."""
    bench.call(name, "a", **parameters)
    done = bench.done()
    assert (done.tool_call_id, done.is_error, done.error_type) == ("a", True, "external_client")
    assert text in done.result
    assert "Traceback" not in done.result and "\n" not in done.result
    assert bench.entered.empty()


def test_at_its_deadline_a_call_is_answered_and_its_late_result_ignored(make_bench: Callable[..., Bench]) -> None:
    """One `client_timeout` at the deadline; what the tool returns afterwards is not posted."""
    bench = make_bench(timeout_s=0.05)
    bench.call("wait", "slow", word="slow")
    assert bench.entered.get(timeout=5) == "slow"
    bench.clock.now += 0.06
    done = bench.done()
    assert (done.tool_call_id, done.is_error, done.error_type) == ("slow", True, "client_timeout")
    assert done.result == "wait did not answer within 0.05 s."
    bench.gate.set()
    bench.call("echo", "next", word="x")
    assert bench.done().tool_call_id == "next"
    assert bench.nothing_more()


def test_an_abandoned_call_frees_its_place(make_bench: Callable[..., Bench]) -> None:
    """With one worker, a call that hangs is replaced at its deadline: the next one runs."""
    bench = make_bench(timeout_s=0.05, workers=1)
    bench.call("wait", "hangs", word="hangs")
    bench.entered.get(timeout=5)
    bench.clock.now += 0.06
    assert bench.done().error_type == "client_timeout"
    bench.call("echo", "next", word="x")
    assert bench.done() == ToolDone(1, "next", "x")


def test_waiting_counts_towards_the_deadline(make_bench: Callable[..., Bench]) -> None:
    """A call that never got a place is answered at its deadline too, and never runs."""
    bench = make_bench(timeout_s=0.05, workers=1)
    bench.call_now("wait", "first", word="first")
    bench.entered.get(timeout=5)
    bench.call_now("echo", "second", word="second")
    bench.clock.now += 0.06
    assert {bench.done().tool_call_id, bench.done().tool_call_id} == {"first", "second"}
    bench.gate.set()
    assert bench.nothing_more()
    assert bench.entered.empty()


def test_stuck_threads_are_bounded(make_bench: Callable[..., Bench]) -> None:
    """When 8 abandoned threads have not come back, calls are refused; when they come back, calls run again."""
    bench = make_bench(timeout_s=0.05)
    for _ in range(MAX_STUCK):
        bench.call("wait", word="x")
        bench.entered.get(timeout=5)
        bench.clock.now += 0.06
        assert bench.done().error_type == "client_timeout"
    bench.call("echo", word="x")
    assert "not come back" in bench.done().result
    assert bench.entered.empty()
    bench.gate.set()
    deadline = Deadline(5)
    while not deadline.passed:
        bench.call("echo", word="x")
        if not bench.done().is_error:
            return
    pytest.fail("calls are still refused")


def test_only_so_many_run_at_once(bench: Bench) -> None:
    """With two workers the third call waits until one of them is free."""
    for word in ("a", "b", "c"):
        bench.call_now("wait", word=word)
    assert {bench.entered.get(timeout=5), bench.entered.get(timeout=5)} == {"a", "b"}
    with pytest.raises(Empty):
        bench.entered.get(timeout=0.1)
    bench.gate.set()
    assert {bench.done().result for _ in range(3)} == {"a", "b", "c"}


def test_the_queue_is_bounded(make_bench: Callable[..., Bench]) -> None:
    """Beyond 32 waiting calls each further one is refused."""
    bench = make_bench(timeout_s=100_000.0, workers=1)
    bench.call("wait", word="x")
    bench.entered.get(timeout=5)
    for _ in range(MAX_WAITING):
        bench.call("echo", word="x")
    bench.call("echo", "one-too-many", word="x")
    done = bench.done()
    assert (done.tool_call_id, done.is_error) == ("one-too-many", True)
    bench.gate.set()
    assert not any(bench.done().is_error for _ in range(1 + MAX_WAITING))


def test_a_repeated_id_runs_once(bench: Bench) -> None:
    """The same `tool_call_id` on the same connection runs once and is answered once; on another it is another call."""
    for conn in (1, 1, 2):
        bench.call("echo", "same", conn=conn, word="x")
    assert {bench.done().conn, bench.done().conn} == {1, 2}
    assert bench.nothing_more()
    assert bench.entered.qsize() == 2


def test_a_thousand_calls_a_second_run_ten(bench: Bench) -> None:
    """At most 10 calls in 10 s run; the rest are refused at once, and later calls run again."""
    for _ in range(1000):
        bench.clock.now += 0.001
        bench.call_now("echo", word="x")
    results = [bench.done() for _ in range(1000)]
    assert sum(not done.is_error for done in results) == 10
    assert bench.entered.qsize() == 10
    bench.clock.now += 10
    bench.call_now("echo", word="x")
    assert not bench.done().is_error


@pytest.mark.parametrize("refused", ["tools", "tool-echo"])
def test_a_machine_without_threads_to_give(make_bench: Callable[..., Bench], refused: str) -> None:
    """Where a thread cannot be started the call is answered as an error, and a later one runs."""
    full = [True]

    def scarce(name: str, target: Callable[[], None]) -> threading.Thread:
        if full and name == refused:
            full.clear()
            raise RuntimeError("can't start new thread")
        return spawn(name, target)

    bench = make_bench(spawn=scarce)
    bench.call("echo", "a", word="x")
    done = bench.done()
    assert (done.tool_call_id, done.is_error) == ("a", True)
    bench.call("echo", "b", word="x")
    assert bench.done() == ToolDone(1, "b", "x")


def test_the_memory_of_ids_is_bounded(bench: Bench) -> None:
    """Only the last 256 ids are remembered."""
    for _ in range(300):
        bench.call_now("no_such_tool")
        bench.done()
    assert len(bench.runner._seen) == 256


def test_a_result_of_10_mb_is_cut(bench: Bench) -> None:
    """No more than 4 kB go back, and the cut is marked."""
    bench.call("big")
    done = bench.done()
    assert len(done.result.encode()) <= 4096
    assert done.result.endswith(CUT)
    assert not done.is_error


def test_close_does_not_wait_for_a_tool(bench: Bench) -> None:
    """Closing abandons what runs."""
    bench.call("wait", word="x")
    bench.entered.get(timeout=5)
    assert bench.runner.close(Deadline(5))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("grüß dich", "grüß dich"),
        (None, "done"),
        (21.5, "21.5"),
        (True, "true"),
        ({"a": [1, "é"]}, '{"a": [1, "é"]}'),
        ({1}, '"{1}"'),
    ],
)
def test_results_as_text(result: Any, text: str) -> None:
    """Text is passed as it is, nothing becomes "done", anything else is JSON."""
    assert as_text(result) == text


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a\x00b\x1b[31mc\n\td", "ab[31mc\n\td"),
        ("lone \ud800 half", "lone  half"),
        ("x" * 4096, "x" * 4096),
        ("x" * 4097, "x" * (4096 - len(CUT.encode())) + CUT),
        ("é" * 2049, "é" * ((4096 - len(CUT.encode())) // 2) + CUT),
    ],
)
def test_cut(text: str, short: str) -> None:
    """Control characters go, 4,096 bytes of UTF-8 stay, no character is halved."""
    assert cut(text) == short
