"""What the parts of one conversation share: its number, its ids, its way out and its witness."""

from __future__ import annotations

import json
import random
from typing import Any

from device_agent.simulator.downlink import Action, Close, Downlink, Drop, Send, Stall
from device_agent.simulator.faults import Fault
from device_agent.simulator.messages import Message
from device_agent.simulator.options import Options
from device_agent.simulator.witness import Witness


class Line:
    """Everything that the server says or does to its client passes through here."""

    def __init__(self, number: int, options: Options, witness: Witness, rng: random.Random) -> None:
        self.number, self.options, self.rng = number, options, rng
        self.closing = False
        self._witness = witness
        self._downlink = Downlink(options.latency, options.jitter, rng)
        self._last_id = 0

    def next_id(self) -> int:
        """Transcripts, replies, tool calls and interruptions share one growing counter."""
        self._last_id += 1
        return self._last_id

    def send(self, message: Message, now: float, **facts: Any) -> None:
        """Sends `message`, unless its type is switched off. `facts` go to the witness as well."""
        if message["type"] in self.options.without:
            return
        _, body = message.values()
        known = {name: body[name] for name in ("event_id", "status") if name in body}
        self.put(Send(json.dumps(message), {"type": message["type"]} | known | facts), now)

    def close(self, code: int, reason: str, now: float) -> None:
        self.closing = True
        self.put(Close(code, reason), now)

    def strike(self, faults: list[Fault], now: float) -> None:
        """Lets `faults` happen, behind what is already on its way."""
        for fault in faults:
            self.note("fault", now, action=fault.action, code=fault.code, reason=fault.reason)
            if fault.action == "close":
                self.close(fault.code, fault.reason, now)
            else:
                self.put(Drop() if fault.action == "drop" else Stall(fault.seconds), now)

    def put(self, action: Action, now: float) -> None:
        self._downlink.put(action, now)

    def take(self, now: float) -> list[Action]:
        """What must be done now, in order."""
        return list(self._downlink.take(now))

    @property
    def next_due(self) -> float:
        return self._downlink.next_due

    def note(self, kind: str, now: float, **facts: Any) -> None:
        self._witness.note(kind, self.number, now, **facts)

    def violation(self, what: str, now: float) -> None:
        self.note("violation", now, what=what)
