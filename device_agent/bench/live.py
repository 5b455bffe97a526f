"""`script/test-live AGENT_ID`: a short conversation with the real service, compared with the simulator's.

A synthetic visitor on virtual sound cards talks for about 30 s with your own agent, over the key that `device-agent
run` would use (`device-agent setup` stores it); it costs what such a conversation costs. Then the recorded wire (types,
field names, sizes, times; no audio, no text) is compared with that of the same visit to the simulator, and answers what
is open about the service. It was only ever tried against the simulator: run `device-agent bench simulate` and give
`--url ws://127.0.0.1:PORT`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from device_agent.bench.demo import PROGRAM, Simulator
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.bench.visitor import Line, Visitor
from device_agent.errors import DeviceAgentError

VISIT = (
    Line("What time is it?"),
    Line("Tell me a joke."),
    Line("What time is it?", after_s=1.2),
    Line("Goodbye."),
)
LENGTH_S = 30.0
STOP_S = 5.0
OPENING = "conversation_initiation_metadata"


@dataclass(frozen=True, slots=True)
class Message:
    """A line of the recording; `t` in seconds since its begin, `way` is `in` or `out`."""

    t: float
    way: str
    kind: str
    fields: frozenset[str] = field(default=frozenset())

    @classmethod
    def read(cls, line: str) -> Message:
        """Sizes are left out: ``name: string`` for a field whose value was recorded as ``string[16]``."""
        found = json.loads(line)
        fields = frozenset(f"{name}: {value.split('[')[0]}" for name, value in found["fields"].items())
        return cls(found["t"], found["dir"], found["type"], fields)


Wire = list[Message]


def shapes(wire: Wire) -> dict[tuple[str, str], frozenset[str]]:
    """By direction and type: all fields that were seen."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for message in wire:
        key = (message.way, message.kind)
        found[key] = found.get(key, frozenset()) | message.fields
    return found


def differing_shapes(live: Wire, simulated: Wire) -> Iterator[str]:
    """One line for each type or field that only one of the two recordings has."""
    one, other = shapes(live), shapes(simulated)
    for key in sorted(one.keys() | other.keys()):
        name = " ".join(key)
        if key not in other:
            yield f"{name}: only in the live recording: {', '.join(sorted(one[key]))}"
        elif key not in one:
            yield f"{name}: only in the simulator's"
        else:
            yield from (f"{name}: {found}: only in the live recording" for found in sorted(one[key] - other[key]))
            yield from (f"{name}: {found}: only in the simulator's" for found in sorted(other[key] - one[key]))


def first_seen(wire: Wire) -> list[str]:
    """The server's types in the order of their first appearance."""
    return list(dict.fromkeys(message.kind for message in wire if message.way == "in"))


def differing_order(live: Wire, simulated: Wire) -> Iterator[str]:
    """One line for each pair of the server's types whose first appearances come the other way round."""
    order = first_seen(live)
    common = [kind for kind in first_seen(simulated) if kind in order]
    for number, earlier in enumerate(common):
        for later in common[number + 1 :]:
            if order.index(later) < order.index(earlier):
                yield f"{later} first came before {earlier}; the simulator sends it after"


def answers(wire: Wire) -> Iterator[str]:
    """What the recording says about the questions that the documentation leaves open."""
    yield f"ping interval: {_ping_interval(wire)}"
    yield f"queue_status before the metadata: {_queue(wire)}"
    yield f"audio after an interruption: {_after_interruptions(wire)}"
    yield f"close: {_close(wire)}"
    yield "not to be seen here: how long a pong may be missing, the effect of absent audio, xi-api-key on the upgrade"


def _ping_interval(wire: Wire) -> str:
    times = [message.t for message in wire if (message.way, message.kind) == ("in", "ping")]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if not gaps:
        return f"{len(times)} pings: too few to tell"
    return f"median {median(gaps):.2f} s, from {min(gaps):.2f} to {max(gaps):.2f} s ({len(times)} pings)"


def _queue(wire: Wire) -> str:
    order = first_seen(wire)
    if "queue_status" not in order:
        return "the call was not queued: cannot be told"
    return "yes" if OPENING not in order or order.index("queue_status") < order.index(OPENING) else "no"


def _after_interruptions(wire: Wire) -> str:
    """Audio between an interruption and the next reply's text, which may be stale; ids are not in the recording."""
    late: list[int] = []
    counting = False
    for message in wire:
        if message.kind == "interruption":
            late.append(0)
            counting = True
        elif message.kind == "agent_response":
            counting = False
        elif counting and (message.way, message.kind) == ("in", "audio"):
            late[-1] += 1
    if not late:
        return "nothing was interrupted"
    return f"{', '.join(map(str, late))} audio events before the next agent_response ({len(late)} interruptions)"


def _close(wire: Wire) -> str:
    closes = [f"{message.way} {message.kind}" for message in wire if message.kind.startswith("(close")]
    return ", ".join(closes) or "no close frame in either direction"


def visit(record: Path, say: Callable[[str], None], agent: str, url: str) -> Wire:
    """Let the visitor talk with `agent`; returns the recorded wire. Raises `DeviceAgentError` if nothing was said."""
    settings = [f"agent.id={agent}", "activation.modes=always-on", "audio.echo=off", "audio.input=", "audio.output="]
    if url:
        settings.append(f"server.url={url}")
    options = [word for setting in settings for word in ("--set", setting)]
    command = (*PROGRAM, "run", "--timeline", "--record-wire", str(record), *options)
    with VirtualCards() as cards, Recorder(cards) as recorder, Microphone(cards) as microphone:
        process = subprocess.Popen(command, env={**os.environ, "STATE_DIRECTORY": str(record.parent), **cards.environ})
        try:
            Visitor(microphone, recorder, say, gone=lambda: process.poll() is not None).converse(VISIT)
        finally:
            process.terminate()
            process.wait(STOP_S)
    return read(record.read_text().splitlines() if record.exists() else ())


def read(lines: Iterable[str]) -> Wire:
    """A recording. Raises `DeviceAgentError` if it holds no conversation."""
    wire = [Message.read(line) for line in lines]
    if not any(message.kind == OPENING for message in wire):
        raise DeviceAgentError("no conversation came about: see the messages above")
    return wire


def report(live: Wire, simulated: Wire) -> Iterator[str]:
    """All lines that `main` prints in the end."""
    yield f"\nThe service sent, in this order: {', '.join(first_seen(live))}"
    yield "\nShapes that differ from the simulator's (some types come only when there is a reason for them):"
    yield from _listed(differing_shapes(live, simulated))
    yield "\nOrder that differs from the simulator's:"
    yield from _listed(differing_order(live, simulated))
    yield "\nAnswers to open questions:"
    yield from _listed(answers(live))
    if (length := live[-1].t - live[0].t) < LENGTH_S / 2:
        yield f"\nOnly {length:.0f} s: the conversation ended early, so the answers are weak."


def _listed(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines] or ["  none"]


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="script/test-live", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("agent", metavar="AGENT_ID", help="your agent")
    parser.add_argument("--url", default="", help="another server, such as the simulator's ws://127.0.0.1:PORT")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep both recordings there")
    args = parser.parse_args()
    print("Note: this was only ever tried against the simulator, never against the real service.", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        place = args.keep or Path(directory)
        place.mkdir(parents=True, exist_ok=True)
        try:
            print(f"\nThe conversation with {args.url or 'the service'}:", flush=True)
            live = visit(place / "live.jsonl", print, args.agent, args.url)
            print("\nThe same with the simulator:", flush=True)
            with Simulator(Path(directory) / "heard.wav") as simulator:
                simulated = visit(place / "simulated.jsonl", print, args.agent, simulator.url)
        except DeviceAgentError as error:
            print(f"script/test-live: {error}", file=sys.stderr)
            return error.exit_code
    print("\n".join(report(live, simulated)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
