"""Measurements of the connection: starting, what the server receives and when, faults, the end."""

from __future__ import annotations

from array import array
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from device_agent.bench.systemd import Systemd
from device_agent.bench.visitor import speech
from device_agent.errors import DeviceAgentError
from device_agent.simulator.voice import flite
from tests.analysis import AUDIBLE, RATE, WIRE_RATE, likeness, nearest, noise, onset, resampled, samples
from tests.patience import until

from .bed import Bed, Client, Session
from .measure import Measured, ms

BLOCK = WIRE_RATE // 10
MALFORMED = (
    "bad-json", "array", "null", "no-type", "missing-fields", "wrong-types", "binary-frame", "bad-base64",
    "second-metadata", "big-text",
)  # fmt: skip
OLD_S = 0.5
START_S = 10.0
REPLY = "All right."


def start(bed: Bed, client: Client) -> Measured:
    with bed.session(client) as session:
        connected = session.connected()
        first = session.server.wait("audio")["t"]
        return {"connected": [ms(connected - session.process.started)], "first audio": [ms(first - connected)]}


def ready(bed: Bed, client: Client) -> Measured:
    """As systemd starts it: until READY=1, and the processor's time until then. The SDK says no such thing."""
    if not client.ours:
        return {}
    with (
        TemporaryDirectory() as home,
        Systemd(Path(home) / "notify") as systemd,
        bed.session(client, environ=systemd.environ) as session,
    ):
        until(lambda: systemd.times("READY=1"), START_S, "READY=1")
        cpu_s = session.process.cpu_s()
        return {"ready": [ms(systemd.times("READY=1")[0] - session.process.started)], "cpu": [ms(cpu_s)]}


def _ages(session: Session, began: float) -> list[tuple[float, int]]:
    """Age (s) at the server and length (samples) of each 20 ms of noise received after `began`.

    A sample is as old as the time since it sounded at the microphone's monitor, where any program could have read it.
    Where frames were lost, the place of each 100 ms is looked for anew.
    """
    room = resampled(session.room.samples(since=began), RATE, WIRE_RATE)
    received, ages, shift = session.server.received(), [], -1
    arrivals = [(event["samples"], event["t"]) for event in session.server.of_kind("audio", since=began)]
    arrival = iter(arrivals)
    end, arrived = next(arrival)
    first = end
    for at in range(first, len(received) - BLOCK, BLOCK):
        block = received[at : at + BLOCK]
        if max(block) < 1000:
            continue  # before, after, and what was never sent
        if likeness(room, at + shift, block) < 0.8:
            match = nearest(room, block)
            if match.likeness < 0.8:
                continue  # holds a seam
            shift = match.offset - at
        for sample in range(at, at + BLOCK, WIRE_RATE // 50):
            while end <= sample:
                end, arrived = next(arrival)
            ages.append((arrived - began - (sample + shift) / WIRE_RATE, WIRE_RATE // 50))
    return ages


def age(bed: Bed, client: Client) -> Measured:
    with bed.session(client) as session:
        session.settled()
        began = session.say(noise(5.0, WIRE_RATE, seed=1))
        session.pause(6.5)
        return {"age": [ms(age) for age, _ in _ages(session, began)]}


def connecting(bed: Bed, client: Client) -> Measured:
    """The visitor speaks while the call is held, 0.3 s after the connection was made."""
    with bed.session(client, "--queue-seconds", "2.5") as session:
        session.connected()
        session.pause(0.3)
        line = resampled(samples(speech("What time is it?")), RATE, WIRE_RATE)
        session.say(line)
        session.pause(5.0)
        return {"lost": [float(_missing(line, session.server.received()))]}


def _missing(line: array[int], received: array[int]) -> int:
    """Milliseconds of `line`, in pieces of 100 ms, that are nowhere in `received`."""
    loud = [at for at in range(0, len(line) - BLOCK, BLOCK) if max(line[at : at + BLOCK]) > 1000]
    if len(received) < len(line):
        return 100 * len(loud)
    return 100 * sum(nearest(received, line[at : at + BLOCK]).likeness < 0.8 for at in loud)


def malformed(bed: Bed, client: Client) -> Measured:
    """One bad message before a reply: survived if the reply is heard, on the same connection."""
    return {name: [float(_survives(bed, client, name))] for name in MALFORMED}


def _survives(bed: Bed, client: Client, name: str) -> bool:
    with bed.session(client, "--malformed", name) as session:
        session.server.wait("audio")
        began = monotonic()
        session.server.order("audio", ms=300)
        try:
            session.audible(began, timeout_s=4.0)
        except DeviceAgentError:
            return False
        return session.process.alive and len(session.server.of_kind("connected")) == 1


def stall(bed: Bed, client: Client) -> Measured:
    with bed.session(client) as session:
        session.settled()
        began = session.say(noise(12.0, WIRE_RATE, seed=2))
        session.pause(1.0)
        session.server.order("stall", seconds=8)
        session.server.wait("resumed", timeout=12)
        session.pause(3.5)
        survived = session.process.alive and len(session.server.of_kind("connected")) == 1
        old = sum(length for age, length in _ages(session, began) if age > OLD_S)
        return {"survived": [float(survived)], "old": [1000 * old / WIRE_RATE]}


def lost(bed: Bed, client: Client) -> Measured:
    with bed.session(client) as session:
        session.settled()
        began = monotonic()
        session.server.order("audio", ms=5000)
        session.audible(began)
        session.pause(0.5)
        session.server.order("drop")
        dropped = session.server.wait("dropping")["t"]
        try:
            return {"back": [ms(session.server.wait("connected", since=dropped, timeout=4.0)["t"] - dropped)]}
        except DeviceAgentError:
            # None: not connected again; 1 if the process has ended by itself
            return {"back": [None], "ended": [float(not session.process.alive)]}


def leave(bed: Bed, client: Client) -> Measured:
    with bed.session(client) as session:
        session.settled()
        began = monotonic()
        session.server.order("audio", ms=10_000, chunk_ms=250)
        session.audible(began)
        session.pause(0.7)
        took = session.process.stop(5.0)
        return {"exit": [ms(took) if took < 5 else None]}


def turn(bed: Bed, client: Client) -> Measured:
    """From the visitor's last sound at the microphone to the reply's first at the loudspeaker, four times.

    The silence with which the synthetic voice begins (0.2 s) belongs to neither client and is left out.
    """
    taken: list[float | None] = []
    question = samples(speech("What time is it?"))
    silence_s = (onset(samples(flite(REPLY)), AUDIBLE) or 0) / WIRE_RATE
    with bed.session(client, script=(REPLY,)) as session:
        session.settled()
        for _ in range(4):
            began = monotonic()
            session.microphone.say(question.tobytes())
            sent = session.server.wait("sent", since=began, type="audio")["t"]
            replied = session.audible(sent - 0.02)
            room = session.room.samples(since=began, until=sent)
            stopped = began + max(i for i, value in enumerate(room) if abs(value) > 300) / RATE
            taken.append(ms(replied - stopped - silence_s))
            session.pause(2.5)
    return {"reply": taken}


def echo(bed: Bed, client: Client) -> Measured:
    """The loudspeaker sounds in the microphone, 10 dB softer, while the agent speaks for a minute."""
    with bed.session(client.with_settings("audio.echo=half-duplex")) as session, session.loopback(decibel=-10):
        session.settled()
        for number in range(12):
            session.server.order("say", text=f"Sentence number {number}: the weather is fine and the sea is calm.")
            session.pause(5.0)
        return {"turns": [float(len(session.server.of_kind("turn")))]}
