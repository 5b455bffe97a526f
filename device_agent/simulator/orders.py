"""The control channel: what a test or a benchmark may order, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from device_agent.simulator.downlink import Drop, Send, Stall
from device_agent.simulator.intents import Answer
from device_agent.simulator.line import Line
from device_agent.simulator.listening import Tools
from device_agent.simulator.speaking import Speaker
from device_agent.simulator.voice import tone

Order = dict[str, Any]


def obey(order: Order, line: Line, speaker: Speaker, tools: Tools, now: float) -> None:
    """Does what ``order["do"]`` says. Raises KeyError, TypeError or ValueError for a wrong order."""
    match order["do"]:
        case "say":
            speaker.think(Answer(str(order["text"])))
        case "audio":
            chunk = int(order.get("chunk_ms", 250))
            sound = tone(int(order["ms"]), float(order.get("hz", 440)))
            speaker.think(Answer(str(order.get("text", "(tone)")), pcm=sound), lengths=(chunk, chunk))
        case "interrupt":
            speaker.silence(line.next_id(), now)
        case "tool":
            parameters = dict(order.get("parameters", {}))
            tools.call(Answer(str(order.get("text", "")), str(order["name"]), parameters), now)
        case "raw":
            line.put(Send(str(order["text"]), {"type": "raw"}), now)
        case "close":
            line.close(int(order.get("code", 1000)), str(order.get("reason", "")), now)
        case "drop":
            line.put(Drop(), now)
        case "stall":
            line.put(Stall(float(order.get("seconds", "inf"))), now)
        case unknown:
            raise ValueError(f"unknown order {unknown!r}")


def read(lines: Iterable[str], pass_on: Callable[[Order], None], refuse: Callable[[str, str], None]) -> None:
    """Hands each order to `pass_on`, and each line that is none, with the reason, to `refuse`. Blocks in reading."""
    for text in lines:
        try:
            order = json.loads(text)
        except ValueError as error:
            refuse(text, str(error))
            continue
        if isinstance(order, dict):
            pass_on(order)
        else:
            refuse(text, "not an object")
