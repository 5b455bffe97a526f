"""Every measurement with the lines of the table that it fills, and the targets."""

from __future__ import annotations

from . import rows_hand as hand
from . import rows_sound as sound
from . import rows_wire as wire
from .measure import Line, Measured, Row, Show, Value, median_of, p95_of


def _number(value: Value) -> str:
    if value is None:
        return "never"
    return f"{value:.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.1f}"


def medians(*keys: str, unit: str, digits: int | None = None) -> Show:
    """The medians of several keys, with slashes between."""

    def show(found: Measured) -> str:
        shown = []
        for key in keys:
            if key not in found:
                return "–"
            value = median_of(found[key])
            shown.append(_number(value) if digits is None or value is None else f"{value:.{digits}f}")
        return f"{' / '.join(shown)} {unit}".strip()

    return show


def with_p95(key: str, unit: str) -> Show:
    return lambda found: f"{_number(median_of(found[key]))} {unit} (p95 {_number(p95_of(found[key]))})"


def count(of: int) -> Show:
    """How many keys hold: right formats, survived messages."""
    return lambda found: f"{sum(median_of(values) == 1 for values in found.values())} of {of}"


def _gaps(found: Measured) -> str:
    silent, lost = median_of(found["silent"]) or 0, median_of(found["lost"]) or 0
    return f"{_number(median_of(found['gaps']))} ({silent:.0f} ms silent, {lost:.0f} ms lost)"


def _back(found: Measured) -> str:
    value = median_of(found["back"])
    if value is not None:
        return f"in conversation again after {_number(value)} ms"
    return "process ends" if any(found.get("ended", ())) else "not back within 4 s"


def _stall(found: Measured) -> str:
    survived = "survived" if median_of(found["survived"]) else "conversation lost"
    return f"{survived}; {_number(median_of(found['old']))} ms of audio older than 0.5 s delivered"


def _connecting(found: Measured) -> str:
    return f"{_number(median_of(found['lost']))} ms lost"


EVENTS = tuple(f"{length / 1000:g} s" for length in sound.EVENTS_MS)
ROWS = (
    Row("start", wire.start, 7, (
        Line("process start → connected", "≤ 200 ms", medians("connected", unit="ms")),
        Line("connected → first microphone audio at the server", "≤ 40 ms", medians("first audio", unit="ms")),
    )),
    Row("ready", wire.ready, 11, (
        Line("process start → READY=1 for systemd, and CPU until then", "≤ 1000 ms, ≤ 500 ms",
             medians("ready", "cpu", unit="ms")),
    )),
    Row("age", wire.age, 2, (
        Line("age of a microphone sample when it reaches the server", "≤ 35 ms (p95 ≤ 55)", with_p95("age", "ms")),
    )),
    Row("interruption", sound.interruption, 2, (
        Line("interruption event → loudspeaker silent, agent audio in events of 0.1 / 0.25 / 1 / 4 / 60 s",
             "≤ 50 ms each", medians(*EVENTS, unit="ms")),
    )),
    Row("interruption_after_underrun", sound.interruption_after_underrun, 1, (
        Line("… in events of 1 s, just after the client stood still for 0.2 s and its card ran dry", "≤ 80 ms",
             medians("1 s", unit="ms")),
    )),
    Row("onset", sound.onset, 1, (
        Line("server's first audio event → audible, from idle", "≤ 45 ms", medians("onset", unit="ms")),
    )),
    Row("turn", wire.turn, 1, (
        Line("user stops → reply audible (with the server's own 600 ms, without its voice's leading silence)",
             "≤ 690 ms", medians("reply", unit="ms")),
    )),
    Row("formats", sound.formats, 1, (Line("agent audio formats played right, of 7", "7", count(7)),)),
    Row("connecting", wire.connecting, 2, (
        Line("first words spoken while still connecting", "0 ms lost", _connecting),
    )),
    Row("reply", sound.reply, 1, (Line("30 s reply sent at once: gaps", "0", _gaps),)),
    Row("reply_busy", sound.reply_busy, 1, (Line("… with one busy process: gaps", "0", _gaps),)),
    Row("reply_same_core", sound.reply_same_core, 1, (Line("… busy on the same core: gaps", "0", _gaps),)),
    Row("reply_jitter", sound.reply_jitter, 1, (
        Line("30 s reply just in time with 80 ms jitter: gaps", "≤ 1, 0 ms lost", _gaps),
    )),
    Row("malformed", wire.malformed, 1, (
        Line("single malformed messages survived", "10 of 10", count(len(wire.MALFORMED))),
    )),
    Row("stall", wire.stall, 1, (Line("server stalls 8 s", "survived, ≤ 1 s of old audio delivered", _stall),)),
    Row("lost", wire.lost, 2, (Line("connection lost mid-reply", "in conversation again ≤ 2 s", _back),)),
    Row("echo", wire.echo, 1, (
        Line("agent's voice looped into the microphone at −10 dB for 60 s: user turns at the server", "0",
             medians("turns", unit="")),
    )),
    Row("resources", sound.resources, 1, (
        Line("RSS in conversation", "≤ 54 MB", medians("rss", unit="MB")),
        Line("OS threads in conversation, no GPIO", "≤ 8", medians("threads", unit="")),
        Line("CPU in conversation, quiet / talking", "≤ 2.1 / 2.4 s/min",
             medians("quiet", "talking", unit="s/min", digits=2)),
    )),
    Row("resources_40", sound.resources_40, 1, (
        Line("… with audio.period_ms = 40 (the SDK always takes 250)", "≤ 1.7 / 2.0 s/min",
             medians("quiet", "talking", unit="s/min", digits=2)),
    )),
    Row("everything", sound.everything, 1, (
        Line("every extra on: OS threads / MB / CPU talking, s/min", "≤ 18 / 85 / –",
             medians("threads", "rss", "talking", unit="")),
    )),
    Row("idle", sound.idle, 1, (
        Line("CPU idle: streams closed / waiting for a voice", "≤ 0.1 / 0.7 s/min",
             medians("closed", "listening", unit="s/min", digits=2)),
    )),
    Row("press", hand.press, 1, (
        Line("press → LED / → earcon audible (± 30 ms) / → connection made, from idle", "≤ 30 / 100 / 20 ms",
             medians("light", "earcon", "attempt", unit="ms")),
        Line("… where no server answers: → LED / → earcon audible (± 30 ms)", "≤ 30 / 100 ms",
             medians("light offline", "earcon offline", unit="ms")),
    )),
    Row("exit", wire.leave, 3, (Line("SIGTERM → exit, talking", "≤ 300 ms", medians("exit", unit="ms")),)),
)  # fmt: skip
