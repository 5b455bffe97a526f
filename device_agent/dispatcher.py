"""The one thread that feeds the core: mailbox → core → performers, then the observers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from device_agent.core.commands import Command
from device_agent.core.conversation import Conversation
from device_agent.core.events import Event, Tick
from device_agent.core.indicator import Snapshot
from device_agent.runtime.deadline import Clock
from device_agent.runtime.mailbox import Mailbox
from device_agent.runtime.worker import IN_USE_S, Worker

BATCH = 16

Performers = Mapping[type, Callable[[Any], None]]
Observer = Callable[[float, Event, Sequence[Command], Snapshot], None]
"""Called after each event with (now, event, commands, snapshot). It must return at once and decides nothing."""


class Dispatcher(Worker):
    """Owns the `Conversation`. Blocks only in `Mailbox.get`, until the core's next deadline; `unblock` posts a tick.

    A performer never blocks: it puts an order into a driver's bounded queue or moves a handle in a ring.
    """

    limit_s = IN_USE_S

    def __init__(
        self,
        conversation: Conversation,
        mailbox: Mailbox,
        performers: Performers,
        observers: Sequence[Observer],
        on_failure: Callable[[str, BaseException], None],
        clock: Clock = time.monotonic,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_rest` is called when all facts that came together are handled."""
        super().__init__("dispatcher", on_failure, clock)
        self._conversation = conversation
        self._mailbox = mailbox
        self._performers = performers
        self._observers = observers
        self._on_rest = on_rest

    def run(self) -> None:
        while not self.stopping.is_set():
            self.beat("waiting", due=False)
            event = self._mailbox.get(self._timeout()) or Tick()
            self.beat("handling", due=True)
            self._handle(event)
            for _ in range(BATCH):  # what came together; bounded, because a flood must not keep `on_rest` waiting
                more = self._mailbox.get(0.0)
                if more is None:
                    break
                self._handle(more)
            self._on_rest()

    def unblock(self) -> None:
        self._mailbox.post(Tick())

    def _timeout(self) -> float | None:
        deadline = self._conversation.next_deadline()
        return None if deadline is None else max(0.0, deadline - self.clock())

    def _handle(self, event: Event) -> None:
        now = self.clock()
        commands = self._conversation.handle(event, now)
        for command in commands:
            self._performers[type(command)](command)
        for observe in self._observers:
            observe(now, event, commands, self._conversation.snapshot)
