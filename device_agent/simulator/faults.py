"""What can go wrong on purpose: when, what, and every kind of malformed message."""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass

from device_agent.simulator.messages import metadata

INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class When:
    """`kind` is after (`value` s since metadata), turn or reply (of that number), or chance (per second)."""

    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> When:
        for prefix, kind in (("turn", "turn"), ("reply", "reply"), ("p", "chance"), ("", "after")):
            if text.startswith(prefix):
                try:
                    return cls(kind, float(text.removeprefix(prefix)))
                except ValueError:
                    break
        raise argparse.ArgumentTypeError(f"{text!r} is none of SECONDS, turnN, replyN, pP")


@dataclass(frozen=True, slots=True)
class Fault:
    """`action` is close (with `code` and `reason`), drop, or stall (for `seconds`)."""

    action: str
    when: When
    code: int = 1000
    reason: str = ""
    seconds: float = INFINITE


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error instead of the upgrade, or (`on_url`) instead of a signed URL."""

    status: int
    retry_after: str = ""
    on_url: bool = False

    @classmethod
    def parse(cls, text: str) -> Refusal:
        status, _, rest = text.removesuffix("@url").partition(":")
        return cls(int(status), rest, text.endswith("@url"))


class Schedule:
    """Says which faults are due. Each strikes once per connection."""

    def __init__(self, faults: tuple[Fault, ...], rng: random.Random) -> None:
        self._waiting = list(faults)
        self._rng = rng
        self._start: float | None = None
        self._last = 0.0

    def start(self, now: float) -> None:
        """The metadata left: seconds count from here."""
        self._start = self._last = now

    def at(self, moment: str, number: int) -> list[Fault]:
        """Faults of `moment` (turn or reply) `number`."""
        return self._take([f for f in self._waiting if (f.when.kind, f.when.value) == (moment, number)])

    def due(self, now: float) -> list[Fault]:
        """Faults whose time has come by `now`; chances are drawn for the time since the last call."""
        if self._start is None:
            return []
        elapsed, self._last = now - self._last, now
        return self._take([f for f in self._waiting if self._strikes(f.when, now - self._start, elapsed)])

    def _strikes(self, when: When, age: float, elapsed: float) -> bool:
        if when.kind == "chance":
            return self._rng.random() < when.value * elapsed
        return when.kind == "after" and age >= when.value

    def _take(self, found: list[Fault]) -> list[Fault]:
        self._waiting = [f for f in self._waiting if f not in found]
        return found


_BIG = 20 * 1024 * 1024


def malformed(name: str) -> str | bytes:
    """The message called `name` in `MALFORMED`; bytes are sent as a binary frame."""
    return MALFORMED[name] if name != "big-text" else json.dumps({"type": "big", "text": "x" * _BIG})


MALFORMED: dict[str, str | bytes] = {
    "bad-json": '{"type": "audio", ',
    "array": '["audio"]',
    "null": "null",
    "no-type": '{"audio_event": {"event_id": 1}}',
    "missing-fields": '{"type": "audio", "audio_event": {}}',
    "wrong-types": '{"type": "audio", "audio_event": {"audio_base_64": 7, "event_id": "x", "alignment": 3}}',
    "binary-frame": b"\x00\xff\x80binary",
    "bad-base64": '{"type": "audio", "audio_event": {"audio_base_64": "!!!%", "event_id": 1}}',
    "odd-pcm": '{"type": "audio", "audio_event": {"audio_base_64": "AAAA", "event_id": 1}}',
    "second-metadata": json.dumps(metadata("conv_second", "pcm_8000", "pcm_8000")),
    "big-text": "",
    "unknown-type": '{"type": "newer_than_you", "newer_event": {"event_id": 1}}',
    "nan": '{"type": "vad_score", "vad_score_event": {"vad_score": NaN}}',
    "deep-nesting": '{"type": "ping", "ping_event": ' + "[" * 100_000 + "]" * 100_000 + "}",
}
"""Legal frames with hostile content. `big-text` (20 MB) is made when it is asked for."""
