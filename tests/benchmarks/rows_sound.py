"""Measurements at the loudspeaker and in /proc: interruption, formats, long replies, memory, processor time."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

from device_agent.errors import DeviceAgentError
from tests.analysis import tone

from .bed import Bed, Client, Session
from .measure import Measured, ms

FORMATS = ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000")
EVENTS_MS = (100, 250, 1000, 4000, 60_000)
WINDOW_S = 12.0
CORE = 0
STILL_S = 0.2
EVERYTHING = ("audio.echo=aec", "gate.second_opinion=silero", "activation.modes=always-on,wake-word",
              "sounds.earcons=true", "sounds.speech=true", "panel.backend=mock", "panel.button_pin=17",
              "panel.led_pin=27", "panel.mute_pin=22", "lights.kind=pwm")  # fmt: skip
BUTTON = ("activation.modes=toggle", "panel.backend=mock", "panel.button_pin=17")


def interruption(bed: Bed, client: Client) -> Measured:
    """From the interruption event to the last sound, for audio events of several lengths."""
    found: Measured = {}
    with bed.session(client, "--pace", "at-once") as session:
        session.settled()
        for length in EVENTS_MS:
            repeats = 3 if length < 4000 else 1
            found[f"{length / 1000:g} s"] = [_cut(session, length, 0.6 + 0.37 * n) for n in range(repeats)]
    return found


def interruption_after_underrun(bed: Bed, client: Client) -> Measured:
    """The same, just after the client stood still and its card ran dry: it may keep more in the card from then on."""
    found: Measured = {"1 s": []}
    with bed.session(client, "--pace", "at-once") as session:
        session.settled()
        for n in range(3):
            session.process.popen.send_signal(signal.SIGSTOP)
            session.pause(STILL_S)
            session.process.popen.send_signal(signal.SIGCONT)
            session.pause(0.5)
            found["1 s"].append(_cut(session, 1000, 0.6 + 0.37 * n))
    return found


def _cut(session: Session, chunk_ms: int, after_s: float) -> float | None:
    began = monotonic()
    session.server.order("audio", ms=max(8000, 2 * chunk_ms if chunk_ms < 60_000 else 60_000), chunk_ms=chunk_ms)
    session.audible(began)
    session.pause(after_s)
    session.server.order("interrupt")
    told = session.server.wait("sent", since=began, type="interruption")["t"]
    silent = session.silent(told, patience_s=5.0)
    session.pause(0.3)
    return None if silent is None else ms(max(0.0, silent - told))


def onset(bed: Bed, client: Client) -> Measured:
    """From the first audio event to the first sound, the loudspeaker having been silent."""
    taken: list[float | None] = []
    with bed.session(client) as session:
        session.settled()
        for _ in range(6):
            began = monotonic()
            session.server.order("audio", ms=300)
            sent = session.server.wait("sent", since=began, type="audio")["t"]
            taken.append(ms(session.audible(began) - sent))
            session.pause(1.0)
    return {"onset": taken}


def formats(bed: Bed, client: Client) -> Measured:
    """A second of 440 Hz in each format: right if it sounds for a second, at 440 Hz (holes are counted elsewhere)."""
    found: Measured = {}
    for name in FORMATS:
        with bed.session(client, "--output-format", name) as session:
            session.server.wait("audio")
            began = monotonic()
            session.server.order("audio", ms=1000, hz=440)
            try:
                session.audible(began)
            except DeviceAgentError:
                found[name] = [0.0]
                continue
            session.silent(began + 0.1, patience_s=6.0)
            heard = tone(session.speaker.samples(since=began))
            right = abs(heard.hz - 440) < 9 and abs(heard.sounding_ms - 1000) < 40
            found[name] = [float(right)]
    return found


@contextmanager
def _busy(core: int | None) -> Iterator[None]:
    """A process that never waits, on any core or on `core`."""
    prefix = () if core is None else ("taskset", "-c", str(core))
    process = subprocess.Popen((*prefix, sys.executable, "-c", "while True: pass"))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _long(bed: Bed, client: Client, pace: str, chunk_ms: int, core: int | None = None, busy: bool = False) -> Measured:
    """A tone of 30 s: how many holes, how long in all, and how much of it never sounded."""
    with ExitStack() as stack:
        if busy:
            stack.enter_context(_busy(core))
        session = stack.enter_context(bed.session(client, "--pace", pace, core=core))
        session.settled()
        began = monotonic()
        session.server.order("audio", ms=30_000, hz=440, chunk_ms=chunk_ms)
        session.pause(28.0)
        session.silent(began + 2, patience_s=8.0)
        heard = tone(session.speaker.samples(since=began))
    lost = max(0.0, 30_000 - heard.sounding_ms)
    # The edges of a hole and of the tone itself are each a few samples off: that is no loss.
    return {"gaps": [float(len(heard.gaps_ms))], "silent": [sum(heard.gaps_ms)], "lost": [lost if lost > 10 else 0.0]}


def reply(bed: Bed, client: Client) -> Measured:
    return _long(bed, client, "at-once", 250)


def reply_busy(bed: Bed, client: Client) -> Measured:
    return _long(bed, client, "at-once", 250, busy=True)


def reply_same_core(bed: Bed, client: Client) -> Measured:
    return _long(bed, client, "at-once", 250, core=CORE, busy=True)


def reply_jitter(bed: Bed, client: Client) -> Measured:
    return _long(bed, client, "jitter:80", 100)


def resources(bed: Bed, client: Client) -> Measured:
    """Memory, threads and processor time (seconds per minute) in conversation: nobody speaks; the agent speaks."""
    with bed.session(client) as session:
        session.settled()
        quiet = _cpu(session)
        began = monotonic()
        session.server.order("audio", ms=int(1000 * WINDOW_S) + 2000)
        session.audible(began)
        talking = _cpu(session)
        process = session.process
        return {
            "rss": [process.rss_mb()],
            "threads": [float(process.threads())],
            "quiet": [quiet],
            "talking": [talking],
        }


def resources_40(bed: Bed, client: Client) -> Measured:
    found = resources(bed, client.with_settings("audio.period_ms=40"))
    return {"quiet": found["quiet"], "talking": found["talking"]}


def everything(bed: Bed, client: Client) -> Measured:
    """Ours only: with every extra (echo canceller, second opinion, wake words) and the panel, on mock pins."""
    if not client.ours:
        return {}
    found = resources(bed, client.with_settings(*EVERYTHING))
    return {"rss": found["rss"], "threads": found["threads"], "talking": found["talking"]}


def idle(bed: Bed, client: Client) -> Measured:
    """Ours only: out of conversation, with the streams closed (toggle), and waiting for a voice (always-on)."""
    if not client.ours:
        return {}
    with bed.session(client.with_settings(*BUTTON)) as session:
        session.pause(2.0)
        closed = _cpu(session)
    with bed.session(client.with_settings("session.idle_close_s=1")) as session:
        session.server.wait("closed", timeout=10)
        session.pause(1.0)
        return {"closed": [closed], "listening": [_cpu(session)]}


def _cpu(session: Session) -> float:
    before, began = session.process.cpu_s(), monotonic()
    session.pause(WINDOW_S)
    if not session.process.alive:
        raise DeviceAgentError("the client ended while its processor time was measured")
    return round(60 * (session.process.cpu_s() - before) / (monotonic() - began), 3)
