"""`device-agent demo` as a person meets it: its verdict, its recording, and what Ctrl-C leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import wave
from array import array
from contextlib import suppress
from pathlib import Path

import pytest

from device_agent.bench.virtual_audio import Microphone, VirtualCards
from device_agent.bench.visitor import speech
from tests.analysis import dbfs, find
from tests.patience import until


def start(*arguments: str) -> tuple[subprocess.Popen[str], list[str]]:
    """The demo as a job of its own, as a shell starts it, and the lines that it says.

    With Ctrl-C at its default: who runs the tests in the background of a script has it ignored, and hands that down.
    """
    process = subprocess.Popen(
        ("env", "--default-signal=INT", sys.executable, "-m", "device_agent", "demo", *arguments),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []
    assert process.stdout is not None
    threading.Thread(target=lambda out: [lines.append(line) for line in out], args=(process.stdout,)).start()
    return process, lines


def job(session: int) -> list[str]:
    """The processes that belong to a session."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            state, _, _, its_session, *_ = (process / "stat").read_text().rpartition(")")[2].split()
            if int(its_session) == session and state != "Z":
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def test_ctrl_c_leaves_nothing_behind(cards: VirtualCards, tmp_path: Path) -> None:
    """Exit code 130, no process of the job, no card of the demo's in the sound server that was there before.

    Sabotage: before Ctrl-C the same looks find both.
    """
    process, lines = start("--output", str(tmp_path / "out.wav"))
    until(lambda: any("connected" in line for line in lines), 20, "the demo runs")
    sinks = ("pactl", "list", "short", "sinks")
    mine = f"_{process.pid}"
    assert mine in subprocess.run(sinks, capture_output=True, text=True).stdout
    assert len(job(process.pid)) > 3
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 130, lines[-20:]
    assert mine not in subprocess.run(sinks, capture_output=True, text=True).stdout
    assert job(process.pid) == []
    assert not any("Traceback" in line for line in lines), lines[-20:]


@pytest.mark.slow
def test_a_recording_of_ones_own_is_said(cards: VirtualCards, tmp_path: Path) -> None:
    """--wav: the visitor says that file; both channels of the result hold sound, and the verdict is in words."""
    file, output = tmp_path / "question.wav", tmp_path / "out.wav"
    with wave.open(str(file), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(48_000)
        wav.writeframes(speech("What time is it?"))
    process, lines = start("--wav", str(file), "--output", str(output))
    assert process.wait(60) == 0, lines[-10:]
    assert any("says  “question.wav”" in line for line in lines)
    assert any("replies played whole" in line for line in lines)
    with wave.open(str(output)) as wav:
        assert (wav.getnchannels(), wav.getframerate()) == (2, 16_000)
        both = array("h", wav.readframes(wav.getnframes()))
    assert dbfs(both[::2]) > -50 and dbfs(both[1::2]) > -50


@pytest.mark.slow
def test_the_echo_call_keeps_both_ends(cards: VirtualCards, microphone: Microphone, tmp_path: Path) -> None:
    """--mic: what the far end heard (left) comes back through the loudspeaker (right), later, and its level is said.

    Sabotage: the same look does not find the sentence in the right channel before it was answered.
    """
    output = tmp_path / "out.wav"
    process, lines = start("--mic", "--seconds", "16", "--output", str(output))
    until(lambda: any("played" in line for line in lines), 20, "the greeting is over")
    until(lambda: any("listening" in line for line in lines[-2:]), 5, "it listens")
    microphone.say(speech("Tell me a joke."))
    assert process.wait(40) == 0, lines[-10:]
    assert any("Loudest 20 ms" in line for line in lines)
    with wave.open(str(output)) as wav:
        both = array("h", wav.readframes(wav.getnframes()))
    left, right = both[::2], both[1::2]
    said = next(at for at, sample in enumerate(left) if abs(sample) > 1000)
    sentence = left[said + 1600 : said + 6400]
    assert find(right, sentence, said + 8000, len(right)) is not None
    assert find(right, sentence, 0, said) is None
