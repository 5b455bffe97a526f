"""The process as systemd and a terminal see it: signals, exit codes, notifications, a sound server that dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rig import SILENT_AGENT, TALK, Call, call, pcm

from device_agent.bench.systemd import Systemd
from device_agent.bench.virtual_audio import VirtualCards
from tests.analysis import noise
from tests.patience import until

DEATHS = 4  # of the sound server, one after another: what hangs in a library comes back once only
STOP_S = 1.0  # the figure is 0.3 s; this machine is shared and noisy


def closed(run: Call) -> tuple[int, str]:
    event = run.simulator.wait("closed", timeout=3)
    return event["code"], event["reason"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_talk_at_once(cards: VirtualCards, number: int) -> None:
    """In the middle of a reply: exit code 0, and the server saw a close frame with 1000.

    Sabotage: SIGKILL leaves neither.
    """
    with call(cards, *TALK, options=(*SILENT_AGENT, "--pace", "at-once")) as run:
        run.ready()
        run.audible(run.simulator.order("audio", ms=6000))
        took, code = run.stop(number)
        print(f"signal {number} while talking → exit: {1000 * took:.0f} ms")
        assert (code, closed(run)[0]) == (0, 1000)
        assert took < STOP_S
        assert "Traceback" not in run.errors.read_text()


def test_a_kill_is_seen_as_one(cards: VirtualCards) -> None:
    """Sabotage: SIGKILL gives neither exit code 0 nor a close frame."""
    with call(cards, *TALK) as run:
        run.ready()
        _, code = run.stop(signal.SIGKILL)
        assert (code, closed(run)[0]) == (-signal.SIGKILL, 1006)


def test_a_signal_ends_the_wait_for_a_server(cards: VirtualCards) -> None:
    """Without a conversation SIGTERM ends the process as fast, with exit code 0."""
    with call(cards, *TALK, options=(*SILENT_AGENT, "--refuse", "503")) as run:
        run.says("link ended", timeout=20)
        took, code = run.stop()
        assert code == 0
        assert took < STOP_S


def test_sigusr1_shows_every_thread(cards: VirtualCards) -> None:
    """The stacks of all threads go to stderr, and the conversation goes on."""
    with call(cards, *TALK) as run:
        run.ready()
        run.process.send_signal(signal.SIGUSR1)
        until(lambda: "most recent call first" in run.errors.read_text(), 3, "stacks on stderr")
        run.pause(0.2)
        assert run.errors.read_text().count("(most recent call first)") >= 5
        asked = run.simulator.order("audio", ms=500)
        assert run.audible(asked)


def test_stacks_may_be_asked_for_at_any_moment(cards: VirtualCards) -> None:
    """500 times in a row, in a conversation: all are written, and it goes on."""
    with call(cards, *TALK) as run:
        run.ready()
        asked = run.simulator.order("audio", ms=20_000)
        for _ in range(500):
            run.process.send_signal(signal.SIGUSR1)
            run.pause(0.005)
        assert run.process.poll() is None
        assert run.errors.read_text().count("Current thread") > 200
        assert run.audible(asked)


def test_systemd_is_told(cards: VirtualCards, tmp_path: Path) -> None:
    """READY=1 first, then the state, pings of the watchdog, and STOPPING=1 at the end.

    Sabotage: a process that is stopped (SIGSTOP) sends no more pings.
    """
    with Systemd(tmp_path / "notify") as systemd, call(cards, *TALK, environ=systemd.environ) as run:
        run.ready()
        systemd.hears("STATUS=listening")
        systemd.hears("WATCHDOG=1")
        os.kill(run.process.pid, signal.SIGSTOP)
        run.pause(0.3)
        before = systemd.words.count("WATCHDOG=1")
        run.pause(3.0)
        assert systemd.words.count("WATCHDOG=1") == before
        os.kill(run.process.pid, signal.SIGCONT)
        until(lambda: systemd.words.count("WATCHDOG=1") > before, 4, "pings go on")
        assert run.stop()[1] == 0
        systemd.hears("STOPPING=1", timeout=1)
        assert systemd.words[0] == "READY=1"
        assert systemd.words.index("STOPPING=1") > systemd.words.index("WATCHDOG=1")


def loud(run: Call, since: float) -> list[Any]:
    """The audio from the device that was not silence."""
    return [event for event in run.simulator.of_kind("audio", since=since) if event["dbfs"] >= -100]


def test_the_death_of_the_sound_server_is_survived(tmp_path: Path) -> None:
    """Both cards vanish in a conversation: said as a state, the server still hears silence, nothing spins.

    When the sound server is back, so are the cards, each time, in the same conversation. Sabotage: the noise that
    the server heard before is measured as sound, and until the sound server is back nobody says "listening".
    """
    with (
        VirtualCards(own=True) as cards,
        Systemd(tmp_path / "notify") as systemd,
        call(cards, *TALK, environ=systemd.environ) as run,
    ):
        run.ready()
        said = run.simulator.order("none")
        run.microphone.say(pcm(noise(1.0, 16_000)))
        until(lambda: loud(run, said), 4, "the noise is heard")
        cards.kill_server()
        systemd.hears("STATUS=no-microphone")
        systemd.heard.clear()
        run.pause(2.0)
        began, cpu = run.simulator.order("none"), run.cpu_s()
        run.pause(4.0)
        audio = run.simulator.of_kind("audio", since=began)
        assert 3.0 < sum(event["n"] for event in audio) / 16_000 < 5.0
        assert not loud(run, began)
        assert not [word for word in systemd.words if word.startswith("STATUS=listening")]
        assert (run.cpu_s() - cpu) / 4.0 < 0.3
        for _ in range(DEATHS):
            cards.revive_server()
            systemd.heard.clear()
            systemd.hears("STATUS=listening", timeout=12)
            run.pause(0.5)
            cards.kill_server()
            systemd.hears("STATUS=no-microphone")
        assert len(run.simulator.of_kind("connected")) == 1
        assert run.stop()[1] == 0
