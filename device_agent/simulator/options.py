"""What the simulator can be told on its command line, as one frozen object."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from device_agent.simulator.faults import MALFORMED, Fault, Refusal, When

FORMATS = ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000")
OPTIONAL_EVENTS = (
    "user_transcript", "tentative_user_transcript", "agent_response", "agent_response_correction",
    "interruption", "client_tool_call", "agent_tool_response", "vad_score", "internal_turn_probability",
    "internal_tentative_agent_response", "agent_response_complete",
)  # fmt: skip
"""What an agent's `client_events` setting switches; audio, metadata and ping always come."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How audio events leave.

    `kind` is at-once, burst (`value` × real time), realtime, or jitter (just in time, up to `value` ms late).
    """

    kind: str = "burst"
    value: float = 3.0

    @classmethod
    def parse(cls, text: str) -> Pace:
        kind, _, value = text.partition(":")
        default = {"at-once": 0.0, "burst": 3.0, "realtime": 1.0, "jitter": 80.0}
        if kind not in default:
            raise argparse.ArgumentTypeError(f"{text!r} is none of at-once, burst[:N], realtime, jitter[:MS]")
        return cls(kind, float(value) if value else default[kind])


@dataclass(frozen=True, slots=True)
class Options:
    """See `add_arguments` for the meaning of each field; the defaults are a healthy, talkative server."""

    port: int = 0
    input_format: str = "pcm_16000"
    output_format: str = "pcm_16000"
    first_message: str = "Hello. How can I help you?"
    agent_id: tuple[str, ...] = ()
    require_key: str = ""
    allow_origin: bool = False
    allow_key_header: bool = False
    allow_override: tuple[str, ...] = ()
    without: tuple[str, ...] = ("agent_response_complete",)
    ping_interval: float = 2.0
    end_of_turn_ms: int = 600
    vad_score_ms: int = 500
    chunk_ms: tuple[int, int] = (60, 420)
    pace: Pace = Pace()
    seed: int = 1
    echo: bool = False
    script: Path | None = None
    record: Path | None = None
    record_raw: Path | None = None
    queue_seconds: float = 0.0
    queue_timeout: float = 0.0
    queue_after_metadata: bool = False
    fault: tuple[Fault, ...] = ()
    refuse: tuple[Refusal, ...] = ()
    faulty: int = 0
    latency: float = 0.0
    jitter: float = 0.0
    malformed: tuple[str, ...] = ()
    receive_buffer: int = 0
    events: str = ""
    control: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> Options:
        """Takes the fields that `add_arguments` put into the namespace."""
        given: dict[str, Any] = {f.name: getattr(args, f.name) for f in fields(cls)}
        return cls(**{name: _frozen(value) for name, value in given.items() if value is not None})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    pair = int(low), int(high or low)
    if not 1 <= pair[0] <= pair[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not MS or MS:MS, at least 1")
    return pair


def _list(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = allowed if text == "all" else tuple(n for n in text.split(",") if n)
        if unknown := set(names) - set(allowed):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; one of {', '.join(allowed)}")
        return names

    return parse


def _close(text: str) -> Fault:
    code, _, rest = text.partition(":")
    reason, _, when = rest.rpartition(":")
    return Fault("close", When.parse(when), code=int(code), reason=reason)


def _stall(text: str) -> Fault:
    when, _, seconds = text.partition(":")
    return Fault("stall", When.parse(when), seconds=float(seconds))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything below is optional."""
    _add_agent(parser)
    _add_voice(parser)
    _add_faults(parser)
    _add_witness(parser)
    defaults = Options()
    # An empty tuple becomes None: argparse cannot append to a tuple.
    parser.set_defaults(
        **{f.name: None if getattr(defaults, f.name) == () else getattr(defaults, f.name) for f in fields(Options)}
    )


def _add_agent(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the agent").add_argument
    add("--port", type=int, help="TCP port on loopback; 0 takes a free one")
    add("--input-format", choices=FORMATS, help="user_input_audio_format")
    add("--first-message", metavar="TEXT", help="what the agent says first ('' for nothing); may hold {{variables}}")
    add("--agent-id", action="append", metavar="ID", help="a known agent (default: any id is known)")
    add("--require-key", metavar="KEY", help="a private agent: signed URLs only, and this key for them")
    add("--allow-origin", action="store_true", help="browser clients send Origin: no violation")
    add("--allow-key-header", action="store_true", help="xi-api-key on the upgrade: no violation")
    add("--allow-override", action="append", metavar="FIELD", help="an override that the agent allows")
    add("--without", type=_list(OPTIONAL_EVENTS), metavar="TYPES", help="server events that are switched off")
    add("--ping-interval", type=float, metavar="S")
    add("--end-of-turn-ms", type=int, metavar="MS", help="received silence that ends the user's turn")
    add("--vad-score-ms", type=int, metavar="MS", help="received audio between two vad_score events; 0: none")
    add("--echo", action="store_true", help="answer each turn with the audio that was heard")
    add("--script", type=Path, metavar="FILE", help="answers in order, as JSON; no recogniser")
    add("--queue-seconds", type=float, metavar="S", help="hold the caller in the queue first")
    add("--queue-timeout", type=float, metavar="S", help="hold the caller, then give up with 3008")
    add("--queue-after-metadata", action="store_true", help="queue_status comes after the metadata, not before")


def _add_voice(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("its voice").add_argument
    add("--output-format", choices=FORMATS, help="agent_output_audio_format")
    add("--chunk-ms", type=_range, metavar="MS[:MS]", help="length of the audio events")
    add("--pace", type=Pace.parse, metavar="PACE", help="at-once, burst[:N], realtime or jitter[:MS]")
    add("--seed", type=int, help="of everything random")


def _add_faults(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "faults", "WHEN is seconds since the metadata, turnN (before reply N), replyN (within it) or pP (chance per s)"
    )

    def fault(flag: str, parse: Callable[[str], Any], metavar: str, help: str) -> None:
        group.add_argument(flag, dest="fault", action="append", type=parse, metavar=metavar, help=help)

    fault("--close", _close, "CODE:REASON:WHEN", "close frame")
    fault("--drop", lambda t: Fault("drop", When.parse(t)), "WHEN", "end the TCP connection without a close frame")
    fault("--half-open", lambda t: Fault("stall", When.parse(t)), "WHEN", "neither read nor write, for ever")
    fault("--dead-link-mid-reply", lambda t: Fault("stall", When.parse(f"reply{t}")), "N", "half-open in reply N")
    fault("--stall", _stall, "WHEN:S", "neither read nor write for S seconds, then go on")
    add = group.add_argument
    add(
        "--refuse", action="append", type=Refusal.parse, metavar="STATUS[:RETRY_AFTER][@url]", help="answer HTTP STATUS"
    )
    add("--faulty", type=int, metavar="N", help="faults and refusals hit the first N attempts only (0: all)")
    add("--latency", type=float, metavar="MS", help="added to everything sent")
    add("--jitter", type=float, metavar="MS", help="up to so much more, order kept")
    add("--malformed", type=_list(tuple(MALFORMED)), metavar="LIST", help="one malformed message before each reply")
    add("--receive-buffer", type=int, metavar="BYTES", help="SO_RCVBUF of the listening socket")


def _add_witness(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the witness").add_argument
    add("--events", metavar="FILE", help="JSON lines of all that is seen; '-' is standard output")
    add("--record", type=Path, metavar="WAV", help="all received audio, 16 kHz mono")
    add("--record-raw", type=Path, metavar="DIR", help="received audio of each connection, exact bytes")
    add("--control", action="store_true", help="take orders as JSON lines on standard input")
