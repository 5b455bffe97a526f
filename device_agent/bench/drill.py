"""`device-agent bench drill`: the recoveries, tried on this machine, for who installs a device.

The real program runs with the device's own sound cards, lights and pins against our simulator; configuration, key and
state of the device are not touched. Where there is no sound card, virtual ones take its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from device_agent.audio.hardware import Machine
from device_agent.bench.drills import DRILLS, Finding
from device_agent.bench.stage import Site
from device_agent.bench.virtual_audio import VirtualCards
from device_agent.config.schema import Settings
from device_agent.control.client import find
from device_agent.errors import DeviceAgentError, UsageError

ALL = "all"


def run(settings: Settings, name: str, virtual: bool, as_json: bool, asks: bool, say: Callable[[str], None]) -> int:
    """Holds the drill and tells what came of it; the exit code is 0 if everything was well again in time."""
    findings: list[Finding] = []
    tell = (lambda text: None) if as_json else say
    with site(settings, virtual or not any(Machine().surroundings()), tell, asks, find(os.environ)) as here:
        for one in DRILLS if name == ALL else (name,):
            for finding in held(one, here):
                findings.append(finding)
                for line in lines(finding):
                    tell(line)
    if as_json:
        say(json.dumps([plain(finding) for finding in findings], indent=1, ensure_ascii=False))
    return int(any(not finding.passed and not finding.left_out for finding in findings))


@contextmanager
def site(settings: Settings, virtual: bool, say: Callable[[str], None], asks: bool, running: Path) -> Iterator[Site]:
    """Raises `UsageError` while a device of this machine, whose socket is `running`, holds its cards and pins."""
    if virtual:
        with VirtualCards(own=True) as cards:
            yield Site(settings, cards, say, asks)
        return
    if running.exists():
        raise UsageError("a device runs here and holds cards and pins: sudo systemctl stop device-agent, then again "
                         "(or drill with --virtual sound cards beside it)")  # fmt: skip
    yield Site(settings, None, say, asks)


def held(name: str, here: Site) -> Iterator[Finding]:
    """The findings of one drill; what keeps it from being held is one as well."""
    try:
        yield from DRILLS[name](here)
    except DeviceAgentError as error:
        yield Finding(name, "nothing yet", wrong=str(error))


def lines(finding: Finding) -> Iterator[str]:
    """What came of it, for a person; what is done was said before. The states are those of docs/lights.md."""
    yield from (f"    {when:+6.2f} s  {state}" for when, state in finding.states)
    yield from (f"    | {line}" for line in finding.lines)
    yield f"{finding.drill}: {verdict(finding)}"


def verdict(finding: Finding) -> str:
    """In one line: passed, FAILED or left out, and why."""
    if finding.left_out:
        return f"left out: {finding.left_out}"
    if finding.seconds is None:
        return f"FAILED: {finding.wrong or f'not well again within {finding.bound_s:.1f} s'}"
    took = f"well again {finding.seconds:.2f} s after {finding.from_}; at most {finding.bound_s:.1f} s"
    wrong = finding.wrong or ("" if finding.passed else "too late")
    return f"{took}: {f'FAILED: {wrong}' if wrong else 'passed'}"


def plain(finding: Finding) -> dict[str, object]:
    """For a program."""
    came = "left out" if finding.left_out else "passed" if finding.passed else "failed"
    states: Sequence[dict[str, object]] = [{"s": when, "state": state} for when, state in finding.states]
    return {
        "drill": finding.drill, "done": finding.done, "states": states, "seconds": finding.seconds,
        "from": finding.from_, "bound_s": finding.bound_s, "verdict": came, "why": finding.left_out or finding.wrong,
    }  # fmt: skip
