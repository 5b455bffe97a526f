"""The dispatcher: mailbox → core → performers, then the observers, at the core's own times."""

from __future__ import annotations

import threading
from typing import Any

from fakes import FakeClock

from device_agent.config.schema import Activation, Panel, Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind
from device_agent.core.tables import Link
from device_agent.dispatcher import Dispatcher
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.mailbox import Mailbox

TOGGLE = Settings(activation=Activation(modes=("toggle",)), panel=Panel(button_pin=17))
COMMANDS = c.Command.__args__  # type: ignore[attr-defined]


class Bench:
    """A dispatcher on a real thread and a fake clock; `performed` and `seen` say what came out."""

    def __init__(self, settings: Settings = TOGGLE, broken: type | None = None) -> None:
        self.clock = FakeClock(5.0)
        self.mailbox = Mailbox()
        self.performed: list[c.Command] = []
        self.seen: list[tuple[float, e.Event, list[c.Command], Link]] = []
        self.failures: list[BaseException] = []
        self.rests: list[int] = []
        self.conversation = Conversation(settings, lambda: 0.5)
        self._moved = threading.Condition()
        performers = {kind: self._break if kind is broken else self.performed.append for kind in COMMANDS}
        observers = [self._observe]
        self.dispatcher = Dispatcher(
            self.conversation, self.mailbox, performers, observers, lambda _, error: self._fail(error), self.clock,
            on_rest=lambda: self.rests.append(len(self.seen)),
        )  # fmt: skip

    def _break(self, _: c.Command) -> None:
        raise RuntimeError("performer broke")

    def _fail(self, error: BaseException) -> None:
        with self._moved:
            self.failures.append(error)
            self._moved.notify_all()

    def _observe(self, now: float, event: e.Event, commands: Any, snapshot: Any) -> None:
        with self._moved:
            self.seen.append((now, event, list(commands), snapshot.link))
            self._moved.notify_all()

    def wait_for(self, count: int) -> bool:
        with self._moved:
            return self._moved.wait_for(lambda: len(self.seen) >= count or bool(self.failures), 5)


def test_a_fact_becomes_orders_and_is_shown_to_the_observers() -> None:
    """What the core orders is performed in its order, before any observer hears of it."""
    bench = Bench()
    bench.dispatcher.start()
    press = e.Edge("button", True, 5.0)
    bench.mailbox.post(press)
    assert bench.wait_for(1)
    bench.dispatcher.request_stop()
    assert bench.dispatcher.join(Deadline(5.0))
    now, event, commands, link = bench.seen[0]
    assert (now, event, link) == (5.0, press, Link.OPENING)
    assert commands == bench.performed[: len(commands)]
    first = [c.Connect(1), c.PlayClip(1, "listening")]
    assert commands == [*first, c.UseMicrophone(True), c.UseLoudspeaker(True), c.Show(c.Indicator.CONNECTING)]
    assert bench.failures == []


def test_facts_that_came_together_are_handled_before_the_rest() -> None:
    """What is done once for all of them (waking the link) is done when the last is handled."""
    bench = Bench()
    for seq in range(3):
        bench.mailbox.post(e.Frame(seq, False, -60.0, 5.0))
    bench.dispatcher.start()
    assert bench.wait_for(3)
    bench.dispatcher.request_stop()
    assert bench.dispatcher.join(Deadline(5.0))
    assert bench.rests[0] == 3


def test_the_cores_deadline_becomes_a_tick() -> None:
    """When nothing happens until the core's deadline the core gets a tick, at that time."""
    bench = Bench()
    for fact in (e.Edge("button", True, 5.0), e.LinkEnded(1, End(Kind.NETWORK))):
        bench.conversation.handle(fact, 5.0)
    deadline = bench.conversation.next_deadline()
    assert deadline is not None
    bench.clock.now = deadline
    bench.dispatcher.start()
    assert bench.wait_for(1)
    bench.dispatcher.request_stop()
    assert bench.dispatcher.join(Deadline(5.0))
    assert bench.seen[0][:2] == (deadline, e.Tick())


def test_a_broken_performer_ends_the_dispatcher_with_a_message() -> None:
    """An exception is not swallowed: the dispatcher fails, which ends the process in order."""
    bench = Bench(broken=c.Connect)
    bench.dispatcher.start()
    bench.mailbox.post(e.Edge("button", True, 5.0))
    assert bench.wait_for(1)
    assert bench.dispatcher.join(Deadline(5.0))
    assert [str(error) for error in bench.failures] == ["performer broke"]


def test_waiting_is_not_being_stuck() -> None:
    """While it waits for facts no beat is due; the stop wakes it at once."""
    bench = Bench()
    bench.dispatcher.start()
    bench.mailbox.post(e.Tick())
    assert bench.wait_for(1)
    bench.dispatcher.request_stop()
    assert bench.dispatcher.join(Deadline(5.0))
    assert not bench.dispatcher.overdue(1e9) or bench.dispatcher.heart.state == "handling"
