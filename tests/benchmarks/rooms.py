"""``python -m tests.benchmarks.rooms``: echo, barge-in and gate in synthetic rooms, without a sound card.

Everything is made from seeds (`scenes`), runs through the device's own chain (canceller, detector, core) frame by
frame, and is written to rooms.json beside this file and to docs/rooms.md. `--minutes N` shortens the longest row.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from device_agent.audio.cancellers import Canceller, SpeexCanceller, WebrtcCanceller, webrtc_available
from device_agent.audio.reference import Reference
from device_agent.audio.second_opinion import SecondOpinion
from device_agent.audio.vad import SpeechDetector, level_dbfs
from device_agent.audio.wake_word import WakeWords
from device_agent.config import schema
from device_agent.config.schema import Activation, Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.core.gate import Gate
from device_agent.core.microphone import SECOND_OPINION_MS
from device_agent.protocol import messages as m
from device_agent.runtime.resample import Resampler
from device_agent.simulator.hearing import Heard, TurnDetector, speech_detector

from . import scenes
from .scenes import FRAME, RATE, ROOMS, Room

HERE = Path(__file__).parent
RESULT = HERE / "rooms.json"
DOCUMENT = HERE.parents[1] / "docs" / "rooms.md"
AGENT_DBFS, USER_DBFS = -20.0, -26.0
NOISE_DB = -30.0  # below the echo
INTERRUPTIONS = 16
MAKERS: dict[str, Any] = {"speex": SpeexCanceller, **({"aec": WebrtcCanceller} if webrtc_available() else {})}


def frames(sound: np.ndarray) -> Iterator[bytes]:
    data = scenes.pcm(sound)
    return (data[at : at + 2 * FRAME] for at in range(0, len(data) - 2 * FRAME + 1, 2 * FRAME))


def microphone(room: Room, agent: np.ndarray, echo_dbfs: float) -> np.ndarray:
    """The agent's echo at that level, and a little noise."""
    echo = scenes.at_level(room.echo(agent), echo_dbfs)
    chance = np.random.default_rng(room.seed + 100)
    return echo + 10 ** ((echo_dbfs + NOISE_DB) / 20) * chance.standard_normal(len(echo))


def cleaned(name: str, played: np.ndarray, heard: np.ndarray) -> tuple[list[bytes], float]:
    """Every frame of `heard` without `played`, and the milliseconds of CPU per second of sound."""
    reference = Reference()
    reference.start()
    canceller: Canceller = MAKERS[name](reference)
    began, out = time.process_time(), []
    for far, near in zip(frames(played), frames(heard), strict=True):
        reference.write(far, RATE)
        out.append(canceller.process(near))
    return out, 1000 * (time.process_time() - began) / (len(heard) / RATE)


@dataclass
class Device:
    """The core in a conversation in which the agent speaks all the time; what it does with each cleaned frame."""

    means: str
    second: bool = False
    closed: bool = False
    now: float = 0.0
    seq: int = 0
    ducks: list[float] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """What the server hears, frame by frame."""

    def __post_init__(self) -> None:
        self.core = Conversation(Settings(activation=Activation(modes=("always-on",))), lambda: 0.5)
        self.detector = SpeechDetector(second=SecondOpinion() if self.second else None)
        self.captured: list[bytes] = []
        for fact in (
            e.Start(), e.LinkOpened(1), e.ServerSaid(1, m.Metadata("c", "pcm_16000", "pcm_16000")), e.Echo(self.means),
            e.AgentAudio(1, 1, 1, 1e9, False), e.PlaybackStarted(1, 0.0),
        ):  # fmt: skip
            self.core.handle(fact, self.now)

    def hear(self, frame: bytes) -> None:
        self.now += 0.02
        self.captured.append(frame)
        fact = e.Frame(self.seq, self.detector.speech(frame), level_dbfs(frame), self.now)
        self.seq += 1
        for order in self.core.handle(fact, self.now):
            if order == c.Duck(True):
                self.ducks.append(self.now)
            elif isinstance(order, c.Disconnect):
                self.closed = True
            elif isinstance(order, c.SendFrames):
                self.sent += self.captured[order.first : order.last + 1]
            elif isinstance(order, c.SendSilence):
                self.sent += [bytes(2 * FRAME)] * order.frames


# ------------------------------------------------------------------------------------------------ rows
@cache
def agent(seconds: int) -> np.ndarray:
    return scenes.at_level(scenes.story(seconds), AGENT_DBFS)


def erle(room: Room, name: str) -> dict[str, float]:
    """Echo return loss enhancement while only the agent speaks, from the 10th to the 20th second."""
    played = agent(20)
    heard = microphone(room, played, USER_DBFS + room.echo_db)
    out, cpu = cleaned(name, played, heard)
    part = slice(10 * RATE, 20 * RATE)
    after = np.frombuffer(b"".join(out), "<i2").astype(float) / 32768
    return {"erle": scenes.level(heard[part]) - scenes.level(after[part]), "cpu": cpu}


def barge_in(room: Room, name: str) -> dict[str, Any]:
    """16 visitors interrupt an agent that speaks for 150 s: caught within 2 s, how fast, and false alarms a minute."""
    played = agent(150)
    heard = microphone(room, played, USER_DBFS + room.echo_db)
    began = []
    for n in range(INTERRUPTIONS):
        said = scenes.at_level(scenes.say(scenes.SENTENCES[n % 6], scenes.VOICES[n % 3]), USER_DBFS)
        at = RATE * 8 + n * 17 * RATE // 2 + (n * 3_571) % RATE
        heard[at : at + len(said)] += said
        began.append((at / RATE, (at + len(said)) / RATE))
    device = Device(name)
    for frame in cleaned(name, played, heard)[0]:
        device.hear(frame)
    found = [next((d - at for d in device.ducks if at <= d <= at + 2), None) for at, _ in began]
    caught = [1000 * late for late in found if late is not None]
    false = [d for d in device.ducks if not any(at <= d <= end + 1 for at, end in began)]
    return {"caught": len(caught), "ms": median(caught) if caught else None, "false": 60 * len(false) / 150}


def turns(echo_db: float, name: str, minutes: float) -> int:
    """User turns that the server counts while only the agent speaks, its echo so many dB below its level."""
    seconds = int(60 * minutes)
    played = agent(seconds)
    heard = microphone(ROOMS[0], played, AGENT_DBFS + echo_db)
    device = Device(name)
    for frame in cleaned(name, played, heard)[0]:
        device.hear(frame)
    server = TurnDetector(speech_detector(), 600)
    return sum(what is Heard.CONFIRMED for frame in device.sent for what in server.feed(frame))


def gate(kind: str, snr: int, second: bool = False) -> dict[str, float]:
    """24 sentences over a noise: missed ones, and the longest onset lost; openings in 71 s of the noise alone."""
    speech, spoken = scenes.utterances(USER_DBFS)
    gain = 10 ** ((USER_DBFS - snr) / 20)
    settings = schema.Gate(second_opinion="silero" if second else "none")
    preroll = settings.preroll_ms + (SECOND_OPINION_MS if second else 0)

    def states(sound: np.ndarray) -> list[tuple[bool | None, bool]]:
        detector, found = SpeechDetector(3, SecondOpinion() if second else None), Gate(settings)
        return [(found.frame(detector.speech(f), level_dbfs(f)), found.open) for f in frames(sound)]

    opened = [is_open for _, is_open in states(speech + gain * scenes.noise(kind, len(speech)))]
    missed, clipped = 0, 0
    for utterance in spoken:
        first, last = utterance.start // FRAME, utterance.end // FRAME
        at = next((n for n in range(first, last) if opened[n]), None)
        missed += at is None
        if at is not None:
            clipped = max(clipped, 20 * (at - first) - preroll)
    alone = states(gain * scenes.noise(kind, RATE * 71, seed=12))
    return {"missed": missed, "clipped": clipped, "opens": sum(change is True for change, _ in alone)}


def idle(kind: str, second: bool) -> float:
    """Seconds (180 at most) that a conversation idling at most 60 s stays open after its visitor's last word.

    The noise, 10 dB below the voice, is there before, and goes on.
    """
    device = Device("off", second)
    device.core.handle(e.PlaybackIdle(0.0), 0.0)
    heard = 10 ** ((USER_DBFS - 10) / 20) * scenes.noise(kind, RATE * 200, seed=13)
    said = scenes.at_level(scenes.say(scenes.SENTENCES[1], "slt"), USER_DBFS)
    first, last = RATE * 10, RATE * 10 + len(said)
    heard[first:last] += said
    for frame in frames(heard[: last + RATE * 180]):
        device.hear(frame)
        if device.closed:
            break
    return device.now - last / RATE


def alias() -> float:
    """How much weaker a tone of 10 kHz is after 48 → 16 kHz than one of 1 kHz, in dB."""

    def through(hz: int) -> float:
        tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(48_000) / 48_000)
        out = np.frombuffer(Resampler(48_000, RATE).process(scenes.pcm(tone)), "<i2").astype(float) / 32768
        return scenes.level(out[2000:-2000])

    return through(1000) - through(10_000)


def chain(name: str) -> float:
    """CPU (ms per second of sound) of resampling 48 → 16 kHz, echo and noise, level and speech detection."""
    wide = scenes.pcm(np.repeat(agent(20), 3))
    reference = Reference()
    reference.start()
    canceller, resampler, detector = MAKERS[name](reference), Resampler(48_000, RATE), SpeechDetector()
    began = time.process_time()
    for at in range(0, len(wide), 6 * FRAME):
        near = resampler.process(wide[at : at + 6 * FRAME])
        near = near.ljust(2 * FRAME, b"\0")[: 2 * FRAME]
        reference.write(near, RATE)
        out = canceller.process(near)
        detector.speech(out)
        level_dbfs(out)
    return 1000 * (time.process_time() - began) / 20


def wake() -> float:
    """CPU (ms per second of sound) of one wake word."""
    words, heard = WakeWords(schema.Wake()), list(frames(agent(20)))
    began = time.process_time()
    for frame in heard:
        words.hear(frame)
    return 1000 * (time.process_time() - began) / 20


# ------------------------------------------------------------------------------------------------ run
NOISES = ("white", "pink", "fan", "music", "clicks", "babble")
TIMES = 5
TELEVISION = ("fan", "music", "clicks", "babble", "voice")


def measure(minutes: float) -> dict[str, Any]:
    rows: dict[str, Any] = {"alias": alias(), "minutes": minutes}
    for name in MAKERS:
        rows[name] = {
            "erle": {room.name: erle(room, name) for room in ROOMS},
            "barge_in": {room.name: barge_in(room, name) for room in ROOMS},
            "turns": {str(db): turns(db, name, minutes) for db in (-20, -10, 0)},
        }
    return rows | measure_cpu() | measure_gate()


def measure_cpu() -> dict[str, Any]:
    """Medians: what else the machine does costs time here, too."""
    chains = {name: median(chain(name) for _ in range(TIMES)) for name in MAKERS}
    return {"chain": chains, "wake": median(wake() for _ in range(TIMES))}


def measure_gate() -> dict[str, Any]:
    """The rows of the gate, without and with a second opinion."""
    found: dict[str, Any] = {}
    for name, second in (("gate", False), ("gate_silero", True)):
        found[name] = {kind: {str(snr): gate(kind, snr, second) for snr in (20, 10, 5)} for kind in NOISES}
    found["idle"] = {kind: [idle(kind, second) for second in (False, True)] for kind in TELEVISION}
    return found


ABOUT = """\
# Echo, barge-in and gate in synthetic rooms

Made by `python -m tests.benchmarks.rooms` from seeds; raw figures in `tests/benchmarks/rooms.json`. An agent at −20
dBFS, users at −26 dBFS, the echo as loud as the user where nothing else is said, 80 ms late. Rooms marked * were not
looked at while parameters were chosen. `aec` is WebRTC's canceller (extra `[aec]`), `speex` libspeexdsp's, which needs
one clock and a loudspeaker that does not distort. "Caught" are interruptions, of 16, that made the agent duck.

"""


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + "\n"


def document(rows: dict[str, Any]) -> str:
    """The page that docs/rooms.md is."""
    names = [name for name in ("aec", "speex") if name in rows]
    head = ("room", *(f"{n}: {what}" for n in names for what in ("ERLE", "caught", "median to duck", "false a minute")))
    rooms = [(f"{room.name}{'' if room.tuned else ' *'}", *_room(rows, names, room.name)) for room in ROOMS]
    turns = "; ".join(f"{name} {' / '.join(str(n) for n in rows[name]['turns'].values())}" for name in names)
    chains = ", ".join(f"{name} {rows['chain'][name]:.1f} ms" for name in names)
    gates = [
        (f"{kind}{', with silero' if name != 'gate' else ''}", *_gate(rows[name][kind]))
        for kind in NOISES
        for name in ("gate", "gate_silero")
    ]
    idles = ", ".join(f"{kind} {alone:.0f} / {second:.0f} s" for kind, (alone, second) in rows["idle"].items())
    return (
        ABOUT
        + table(head, rooms)
        + f"User turns that the server counts in {rows['minutes']:g} min of agent speech, echo at −20 / −10 / 0 dB: "
        + f"{turns}.\n\n"
        + f"CPU per second of sound, resampling, echo, noise, level and detector together: {chains}; one wake word: "
        + f"{rows['wake']:.1f} ms.\n"
        + f"Alias rejection 48 → 16 kHz: {rows['alias']:.0f} dB.\n\n"
        + table(("noise, at 20 / 10 / 5 dB", "missed, of 24", "onset lost after the pre-roll", "false in 71 s"), gates)
        + "A conversation with an idle limit of 60 s, over a noise 10 dB below the visitor, closes so long after the "
        + f'last word (without / with `gate.second_opinion = "silero"`; 180 s: not within that): {idles}.\n'
    )


def _room(rows: dict[str, Any], names: list[str], room: str) -> Iterator[str]:
    for name in names:
        found = rows[name]["barge_in"][room]
        yield f"{rows[name]['erle'][room]['erle']:.0f} dB"
        yield str(found["caught"])
        yield "–" if found["ms"] is None else f"{found['ms']:.0f} ms"
        yield f"{found['false']:.1f}"


def _gate(found: dict[str, dict[str, float]]) -> Iterator[str]:
    for key, unit in (("missed", ""), ("clipped", " ms"), ("opens", "")):
        yield " / ".join(f"{max(0, one[key]):.0f}" for one in found.values()) + unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of agent speech in the row of turns")
    parser.add_argument("--gate", action="store_true", help="measure the gate again and keep the other rows")
    parser.add_argument("--cpu", action="store_true", help="measure the processor's time again, and keep the rest")
    args = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if args.gate or args.cpu else measure(args.minutes)
    rows = kept | (measure_gate() if args.gate else {}) | (measure_cpu() if args.cpu else {})
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(rows))
    print(document(rows))


if __name__ == "__main__":
    main()
