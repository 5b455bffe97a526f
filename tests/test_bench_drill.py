"""`device-agent bench drill`: what is said of a finding, and what a drill needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_agent.__main__ import main
from device_agent.bench.drill import held, lines, plain, site
from device_agent.bench.drills import DRILLS, Finding
from device_agent.bench.stage import Site, settings_for
from device_agent.config.schema import Agent, Audio, Lights, Server, Settings
from device_agent.errors import UsageError

WELL = Finding("net", "the connection is cut", "the fault", 2.0, 0.71, ((0.02, "offline"), (0.7, "listening")))


def said(finding: Finding) -> list[str]:
    return list(lines(finding))


def test_a_finding_shows_the_states_and_the_verdict() -> None:
    """When the device did what, when it was well again, and the published bound."""
    *states, verdict = said(WELL)
    assert states == ["     +0.02 s  offline", "     +0.70 s  listening"]
    assert verdict == "net: well again 0.71 s after the fault; at most 2.0 s: passed"
    assert plain(WELL)["verdict"] == "passed"


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (Finding("net", "", bound_s=2.0, seconds=2.5),
         "net: well again 2.50 s after the fault; at most 2.0 s: FAILED: too late"),
        (Finding("net", "", bound_s=2.0), "net: FAILED: not well again within 2.0 s"),
        (Finding("net", "", wrong="no server"), "net: FAILED: no server"),
        (Finding("auth", "", bound_s=2.0, seconds=1.0, wrong="4 attempts"),
         "auth: well again 1.00 s after the fault; at most 2.0 s: FAILED: 4 attempts"),
    ],
)  # fmt: skip
def test_what_was_not_well_in_time_has_failed(finding: Finding, verdict: str) -> None:
    """Too late, never, or with something else wrong."""
    assert said(finding)[-1] == verdict
    assert plain(finding)["verdict"] == "failed"


def test_a_failure_shows_what_the_program_wrote_last() -> None:
    """For whoever must find out why."""
    assert "    | E link.failed" in said(Finding("net", "", wrong="no", lines=("E link.failed",)))


def test_a_real_card_is_unplugged_by_a_person_or_not_at_all() -> None:
    """Without a terminal to ask at, the drill says why it was left out; that is no failure of the device."""
    (finding,) = held("mic", Site(Settings(), None, lambda _: None, asks=False))
    assert said(finding) == ["mic: left out: somebody has to unplug it, and no terminal is here to ask"]
    assert plain(finding)["verdict"] == "left out"


def test_a_running_device_is_not_disturbed(tmp_path: Path) -> None:
    """It holds cards and pins: the remedy is named."""
    running = tmp_path / "control.sock"
    running.touch()
    with pytest.raises(UsageError, match="systemctl stop"), site(Settings(), False, print, False, running):
        pass


def test_the_devices_own_sound_and_lights_are_drilled_and_nothing_else_of_it() -> None:
    """Neither its agent nor its server is ever called; virtual cards take the place of named ones."""
    own = Settings(
        agent=Agent(id="agent_1"),
        server=Server(url="wss://proxy.example", auth="key"),
        audio=Audio(input=("USB",), period_ms=40),
        lights=Lights(kind="apa102"),
    )
    real, virtual = (settings_for(own, "ws://127.0.0.1:1", "", on) for on in (False, True))
    assert (real.agent.id, real.server.url, real.server.auth) == ("drill", "ws://127.0.0.1:1", "public")
    assert (real.audio.input, real.audio.period_ms, real.lights.kind) == (("USB",), 40, "apa102")
    assert (virtual.audio.input, virtual.audio.period_ms) == ((), 40)


def test_an_unknown_drill_names_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 64, all names."""
    assert main(["bench", "drill", "meteor"]) == 64
    complaint = capsys.readouterr().err
    assert all(name in complaint for name in (*DRILLS, "all"))
