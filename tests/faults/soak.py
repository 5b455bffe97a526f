"""The soak: the real program in conversation after conversation, with a random fault every few seconds.

`script/soak MINUTES` runs it. Witnesses are outside of the program: the server, /proc, and systemd's socket. It ends
with 0 if every fault was recovered from, nothing grew, and no ping of the watchdog was missed unasked.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from device_agent.bench.demo import Simulator, device
from device_agent.bench.systemd import Systemd
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.bench.visitor import speech
from device_agent.control.client import Client
from device_agent.errors import DeviceAgentError

RECOVERY_S = 60.0  # the longest delay between two attempts
WATCHDOG_S = 10.0
GROWTH_MB = 1.0
DEATH_MB = 0.1  # what PortAudio and the sound libraries keep of each restart of theirs
PATIENCE_S = 4.0  # a visitor who gets no answer tries again
PAUSE_S = (0.5, 4.0)
OPTIONS = ("--first-message", "Hello, I am here.", "--ping-interval", "1")
SETTINGS = (
    "activation.modes=always-on", "audio.echo=off", "session.idle_close_s=0", "session.connects_per_hour=0",
    "log.level=debug",
)  # fmt: skip
WORDS = "Hello, is anybody there?"


@dataclass
class Sample:
    """What /proc says of the program."""

    rss_mb: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"]))


@dataclass
class Soak:
    """One run."""

    simulator: Simulator
    cards: VirtualCards
    systemd: Systemd
    process: Popen[str]
    log: Path
    rng: random.Random
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    pause: threading.Event = field(default_factory=threading.Event)
    words: bytes = field(default_factory=lambda: speech(WORDS))
    visitor: ExitStack = field(default_factory=ExitStack)

    def faults(self) -> dict[str, Callable[[], float]]:
        """By name; each strikes and returns when it did."""
        order = self.simulator.order
        malformed = (
            "{bad",
            "[]",
            '{"type":"audio","audio_event":{"audio_base_64":"%"}}',
            '{"type":"new"}',
            "x" * 100000,
        )
        return {
            "the server drops the connection": lambda: order("drop"),
            "the server closes with 1011": lambda: order("close", code=1011, reason="internal"),
            "the server closes with 1000": lambda: order("close", code=1000),
            "the server is silent for 2 s": lambda: order("stall", seconds=2.0),
            "the server falls silent for ever": lambda: order("stall"),
            "a malformed message": lambda: order("raw", text=self.rng.choice(malformed)),
            "an interruption": lambda: order("interrupt"),
            "a tool that does not exist": lambda: order("tool", name="nothing", parameters={"a": "; rm -rf /"}),
            "a long reply": lambda: order("audio", ms=3000),
            "the process is stopped for 1 s": self._stopped,
            "the sound server dies": self._no_sound,
            "all stacks are asked for": lambda: self._signal(signal.SIGUSR1),
            "the flight recorder is asked for": lambda: self._signal(signal.SIGUSR2),
        }

    def _signal(self, number: int) -> float:
        os.kill(self.process.pid, number)
        return time.monotonic()

    def _stopped(self) -> float:
        at = self._signal(signal.SIGSTOP)
        self.pause.wait(1.0)
        self._signal(signal.SIGCONT)
        return at + 1.0

    def _no_sound(self) -> float:
        self.cards.kill_server()
        self.pause.wait(1.0)
        at = time.monotonic()
        self.cards.revive_server()
        self.visit()
        return at

    def visit(self) -> None:
        """A visitor at the microphone, and an ear at the loudspeaker: those before died with the sound server."""
        self.visitor.close()
        self.visitor.enter_context(Recorder(self.cards))
        self.microphone = self.visitor.enter_context(Microphone(self.cards))

    def insist(self) -> None:
        """A visitor without an answer speaks again, and asks as a press of a button would.

        By itself the device waits for up to two minutes after a server that drops it again and again: each connection
        may be billed, and here hardly one lives long enough to count as a good one.
        """
        self.microphone.say(self.words)
        with suppress(DeviceAgentError), Client(self.log.with_name("control.sock")) as client:
            client.ask("talk")

    def strike(self) -> None:
        """One fault, and the way back: the server hears the microphone live again."""
        names = self.faults()
        name = self.rng.choice(list(names))
        at = names[name]()
        if "1000" in name:  # a normal end: the device rests until somebody speaks
            with suppress(DeviceAgentError):  # between two connections there was none to close
                self.simulator.wait("closed", since=at, timeout=5.0)
            self.microphone.say(self.words)
        end, speak = time.monotonic() + RECOVERY_S, time.monotonic() + PATIENCE_S
        # Audio that was under way is no recovery; that a card is back, the device itself must say.
        settle = at if "sound" in name else at + (0.3 if "for" not in name else 0.5)
        back = None
        while time.monotonic() < end and self.process.poll() is None:
            back = self._back(name, settle)
            if back is not None:
                self.recovered[name].append(back - at)
                break
            if time.monotonic() > speak:
                self.insist()
                speak += PATIENCE_S
            self.pause.wait(0.05)
        else:
            self.failed[name] += 1
        print(f"{name}: {'not recovered' if back is None else f'{back - at:.2f} s'}", file=sys.stderr, flush=True)
        if back is None:  # what it says of itself, for whoever looks for the reason
            tail = self.log.read_text(errors="replace").splitlines()[-60:]
            print("\n".join(f"    {line}" for line in tail), file=sys.stderr, flush=True)
        del self.simulator.events[:-2000]
        if self.process.poll() is None:
            self.samples.append(Sample.of(self.process.pid))

    def _back(self, name: str, since: float) -> float | None:
        """When the server heard the device after the fault; and without a card it would hear silence all the time."""
        if "sound" in name:
            known = [(at, text) for at, text in list(self.systemd.heard) if text.startswith("STATUS=")]
            if not known or known[-1][0] < since or "no-" in known[-1][1]:
                return None
            since = known[-1][0]
        heard = self.simulator.of_kind("audio", since=since)
        return float(heard[0]["t"]) if heard else None

    def verdict(self) -> list[str]:
        """What is wrong."""
        wrong = [f"{count} × not recovered from: {name}" for name, count in self.failed.items()]
        if self.process.poll() is not None:
            wrong.append(f"the program ended with {self.process.returncode}")
        third = len(self.samples) // 3
        if third < 5:
            wrong.append("too short to say whether anything grows")
        else:
            # Not the first samples: caches and libraries fill in the first conversations.
            early, late = self.samples[third // 2 : third + third // 2], self.samples[-third:]
            growth = GROWTH_MB + DEATH_MB * len(self.recovered["the sound server dies"])
            for what, most in (("descriptors", 0), ("threads", 0), ("rss_mb", growth)):
                before, after = (statistics.median(getattr(s, what) for s in part) for part in (early, late))
                if after - before > most:
                    wrong.append(f"{what} grew from {before:.1f} to {after:.1f}")
        gap = self.systemd.longest_silence("WATCHDOG=1")
        if gap > WATCHDOG_S:
            wrong.append(f"no ping of the watchdog for {gap:.1f} s")
        return wrong

    def report(self, minutes: float) -> dict[str, object]:
        """For docs/faults.md."""
        last = self.samples[-1]
        return {
            "minutes": round(minutes, 1),
            "faults": sum(map(len, self.recovered.values())) + sum(self.failed.values()),
            "recovered": {
                name: {
                    "times": len(took),
                    "median_s": round(statistics.median(took), 2),
                    "worst_s": round(max(took), 2),
                }
                for name, took in sorted(self.recovered.items())
            },
            "failed": dict(self.failed),
            "rss_mb": [round(self.samples[len(self.samples) // 3].rss_mb, 1), round(last.rss_mb, 1)],
            "descriptors": last.descriptors,
            "threads": last.threads,
            "longest_silence_of_the_watchdog_s": round(self.systemd.longest_silence("WATCHDOG=1"), 1),
            "wrong": self.verdict(),
        }


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--output", type=Path, help="where the report goes, as JSON")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with us
    print(f"seed {chosen.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with (
            VirtualCards() as cards,
            ExitStack() as visitor,
            Simulator(home / "heard.wav", *OPTIONS) as simulator,
            Systemd(home / "notify") as systemd,
            (home / "errors").open("w") as errors,
        ):
            environ = {**cards.environ, **systemd.environ, "RUNTIME_DIRECTORY": str(home)}
            with device(simulator, environ, lambda _: None, *SETTINGS, arguments=(), stderr=errors) as process:
                simulator.wait("audio", timeout=30)
                soak = Soak(
                    simulator, cards, systemd, process, home / "errors", random.Random(chosen.seed), visitor=visitor
                )
                soak.visit()
                while time.monotonic() - began < 60 * chosen.minutes and process.poll() is None:
                    soak.strike()
                    soak.pause.wait(soak.rng.uniform(*PAUSE_S))
                report = soak.report((time.monotonic() - began) / 60)
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.output:
        chosen.output.write_text(text + "\n")
    return int(bool(report["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
