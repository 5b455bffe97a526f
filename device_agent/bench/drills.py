"""The drills: what is done to the device, what must become of it, and within which time.

Each returns what was found. The bounds are those of docs/faults.md, until the device is in a conversation again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from device_agent.audio.hardware import Machine
from device_agent.bench.authority import Authority
from device_agent.bench.stage import START_S, Site, Stage, stage
from device_agent.bench.stage import server as simulator
from device_agent.bench.virtual_audio import Microphone, Recorder, VirtualCards
from device_agent.control.client import NAME, Client

GRACE_S = 5.0  # beyond the bound: how late it was is worth knowing
AWAY_S = 2.0  # how long a server or a sound card is missing
QUIET_S = 5.0  # in which a refused key must not be tried again
UNPLUG_S = 60.0  # a person has so long
SILENCE_DBFS = -90.0
SOUND = 200  # a peak of −44 dBFS

CUT_S, SILENT_LINK_S, SERVER_S, CARD_S, PRESS_S, CLOCK_S, HANG_S, TOOL_S = 2.0, 15.0, 60.0, 3.0, 2.0, 6.0, 16.0, 0.5


@dataclass(frozen=True)
class Finding:
    """What came of one drill: the states, in seconds since the fault, and when it was `well`, in seconds since `from_`.

    `seconds` is None where it was not well again; `left_out` says why nothing was done.
    """

    drill: str
    done: str
    from_: str = "the fault"
    bound_s: float = 0.0
    seconds: float | None = None
    states: tuple[tuple[float, str], ...] = ()
    wrong: str = ""
    left_out: str = ""
    lines: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it was well again in time, and nothing else went wrong."""
        return not self.wrong and self.seconds is not None and self.seconds <= self.bound_s


class Course:
    """One drill from its fault on. It says what is done; `wrong` is what goes wrong beside the recovery."""

    def __init__(self, stage: Stage, drill: str, done: str) -> None:
        self.stage, self._drill, self._done = stage, drill, done
        self.wrong = ""
        self.connection = stage.connection()
        stage.site.say(f"{drill}: {done}")
        self.at = time.monotonic()

    def since(self, from_: str, at: float, bound_s: float, back: Callable[[], float | None]) -> Finding:
        """Wait for the moment that `back` names; its time counts from `at`, which a person calls `from_`."""
        found = self.stage.until(back, bound_s + GRACE_S)
        states = tuple((round(when - self.at, 2), state) for when, state in self.stage.states if when >= self.at)
        seconds = None if found is None else round(max(0.0, found - at), 2)
        lines = () if found is not None and not self.wrong else tuple(self.stage.lines)
        return Finding(self._drill, self._done, from_, bound_s, seconds, states, self.wrong, lines=lines)

    def fault(self, bound_s: float, back: Callable[[], float | None]) -> Finding:
        """As `since`, from the fault itself on."""
        return self.since("the fault", self.at, bound_s, back)


def net(site: Site) -> Iterator[Finding]:
    """The way to the server breaks, and then it swallows everything."""
    with stage(site) as on:
        on.begin()
        course = Course(on, "net", "the connection is cut")
        on.proxy.cut()
        yield course.fault(CUT_S, lambda: on.well(course.at, beyond=course.connection))
    with stage(site) as on:
        on.begin()
        course = Course(on, "net", "the connection goes silent: nothing arrives any more, and nobody says so")
        on.proxy.swallow()
        yield course.fault(SILENT_LINK_S, lambda: on.well(course.at, beyond=course.connection))


def server(site: Site) -> Iterator[Finding]:
    """It goes, and a new one comes at the same place."""
    with stage(site) as on:
        on.begin()
        course = Course(on, "server", "the server ends, and is started again")
        on.simulator.stop()
        on.wait(AWAY_S)
        with simulator(on.home) as again:
            on.simulator, on.proxy.target, at = again, again.port, time.monotonic()
            yield course.since("its return", at, SERVER_S, lambda: on.well(at))


def auth(site: Site) -> Iterator[Finding]:
    """A refused key is a state, and is not tried again and again; the next press is."""
    with stage(site, "--refuse", "401", "--faulty", "1") as on:
        done = "the server refuses the key (401); then it takes it, and somebody presses the button"
        course = Course(on, "auth", done)
        on.start()
        on.until(lambda: on.simulator.of_kind("request", status=401), START_S)
        on.wait(QUIET_S)
        attempts = len(on.simulator.of_kind("request"))
        course.wrong = "" if attempts == 1 else f"there were {attempts} attempts within {QUIET_S:.0f} s"
        at = time.monotonic()
        with Client(on.home / NAME) as client:
            client.ask("talk")
        yield course.since("the press", at, PRESS_S, lambda: on.well(at))


def clock(site: Site) -> Iterator[Finding]:
    """A clock that is wrong is waited for, and no certificate is ever taken unseen."""
    done = "the server's certificate is not valid yet, as where our clock is years behind; then the clock is right"
    if not shutil.which("openssl"):
        yield Finding("clock", done, left_out="needs openssl: sudo apt install openssl")
        return
    with TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        future = ("20900101000000Z", "20910101000000Z")
        early = authority.server(authority.certificate("early", "127.0.0.1", lifetime=future))
        valid = authority.server(authority.certificate("valid", "127.0.0.1"))
        with stage(site, tls=early, ca_file=str(authority.ca_file)) as on:
            course = Course(on, "clock", done)
            on.start()
            if not on.until(lambda: on.proxy.refused, START_S):
                course.wrong = "it did not refuse the certificate"
            on.wait(1.0)
            at, on.proxy.tls = time.monotonic(), valid
            yield course.since("the right time", at, CLOCK_S, lambda: on.well(at))


def hang(site: Site) -> Iterator[Finding]:
    """The program dies by its own timer, with its stacks, and is started again."""
    with stage(site) as on:
        on.begin()
        course = Course(on, "hang", "a tool holds the interpreter: no thread runs any more")
        on.simulator.order("tool", name="hold_the_interpreter")
        yield course.fault(HANG_S, lambda: on.well(course.at, beyond=course.connection))


def tool(site: Site) -> Iterator[Finding]:
    """One that hangs costs an answer, not the conversation."""

    def answered() -> float | None:
        results = on.simulator.of_kind("tool_result", course.at, is_error=True)
        goes_on = results and on.connection() == course.connection and on.well(results[0]["t"])
        return results[0]["t"] if goes_on else None

    with stage(site) as on:
        on.begin()
        course = Course(on, "tool", "a tool never returns: the agent gets an error instead, and the talk goes on")
        on.simulator.order("tool", name="never_returns")
        yield course.fault(site.settings.tools.timeout_s + TOOL_S, answered)


@contextmanager
def visitors(cards: VirtualCards) -> Iterator[Recorder]:
    """A sound at the virtual microphone all the time, and an ear at the virtual loudspeaker."""
    with Recorder(cards) as ear, Microphone(cards) as microphone:
        for _ in range(120):  # as long as any drill of sound takes
            microphone.say(_buzz())
        yield ear


def _buzz() -> bytes:
    """A second of a quiet square wave, 48 kHz."""
    return (b"\x00\x04" * 60 + b"\x00\xfc" * 60) * 400


def mic(site: Site) -> Iterator[Finding]:
    """The microphone goes and comes back."""
    yield from (_virtual if site.cards else _by_hand)(site, "mic", "microphone")


def speaker(site: Site) -> Iterator[Finding]:
    """The loudspeaker goes and comes back."""
    yield from (_virtual if site.cards else _by_hand)(site, "speaker", "loudspeaker")


def _virtual(site: Site, drill: str, thing: str) -> Iterator[Finding]:
    cards = site.cards
    assert cards is not None
    with ExitStack() as there, stage(site) as on:
        there.enter_context(visitors(cards))
        on.begin()
        course = Course(on, drill, f"the (virtual) {thing} vanishes with its sound server, and comes back")
        cards.kill_server()
        course.wrong = _unnoticed(on)
        there.close()
        on.wait(AWAY_S)
        at = time.monotonic()
        cards.revive_server()
        ear = there.enter_context(visitors(cards))
        if drill == "mic":
            back = lambda: on.well(at, above_dbfs=SILENCE_DBFS)  # noqa: E731
        else:
            on.until(lambda: on.well(at), CARD_S)
            on.simulator.order("audio", ms=3000)
            back = lambda: _sounding(ear, at)  # noqa: E731
        yield course.since("its return", at, CARD_S, back)


def _unnoticed(on: Stage) -> str:
    """What to say if the device does not notice that a card is gone."""
    return "" if on.until(lambda: not on.at_rest(), CARD_S) else f"it did not notice within {CARD_S:.0f} s"


def _sounding(ear: Recorder, since: float) -> float | None:
    """When something was first heard of the loudspeaker."""
    start = max(since, ear.origin)
    place = next((n for n, value in enumerate(ear.samples(since=since)) if abs(value) > SOUND), None)
    return None if place is None else start + place / 48_000


def _by_hand(site: Site, drill: str, thing: str) -> Iterator[Finding]:
    done = f"the {thing} is unplugged, and plugged in again"
    if not site.asks:
        yield Finding(drill, done, left_out="somebody has to unplug it, and no terminal is here to ask")
        return
    machine = Machine()
    with stage(site) as on:
        on.begin()
        before = machine.surroundings()
        course = Course(on, drill, f"please unplug the {thing} within {UNPLUG_S:.0f} s (or wait, if it cannot be)")
        if not on.until(lambda: machine.surroundings() != before, UNPLUG_S):
            yield Finding(drill, done, left_out=f"nothing was unplugged within {UNPLUG_S:.0f} s")
            return
        course.wrong = _unnoticed(on)
        gone = machine.surroundings()
        site.say(f"{drill}: please plug it in again")
        on.until(lambda: machine.surroundings() != gone, UNPLUG_S)
        at = time.monotonic()
        yield course.since("its return", at, CARD_S, lambda: on.well(at))


DRILLS: Mapping[str, Callable[[Site], Iterator[Finding]]] = {
    "net": net, "server": server, "mic": mic, "speaker": speaker, "auth": auth, "clock": clock, "hang": hang,
    "tool": tool,
}  # fmt: skip
