"""Wake words: heard when said, not otherwise, several at once, once each; what is wrong is said before the start."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from device_agent.audio.wake_word import WakeWords, check
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.schema import Wake
from device_agent.errors import ConfigError
from device_agent.simulator.voice import flite

MODELS = Path(importlib.util.find_spec("pymicro_wakeword").origin).parent / "models"  # type: ignore[union-attr, arg-type]
FRAME = 640
PAUSE = bytes(16_000)

speaks = pytest.mark.skipif(not shutil.which("flite"), reason="flite says the words")


def heard(words: WakeWords, *texts: str) -> list[str]:
    pcm = PAUSE + b"".join(flite(text, "rms") + PAUSE for text in texts)
    frames: Iterable[bytes] = (pcm[at : at + FRAME] for at in range(0, len(pcm) - FRAME, FRAME))
    return [word for frame in frames if (word := words.hear(frame))]


@speaks
def test_each_word_is_heard_once_and_by_its_name() -> None:
    """Two words are waited for at the same time; other speech is none of them."""
    words = WakeWords(Wake(words=("okay_nabu", "alexa")))
    said = ("what time is it", "okay nabu", "please turn on the lamp in the hall", "alexa")
    assert heard(words, *said) == ["okay_nabu", "alexa"]


@speaks
def test_a_word_within_the_refractory_time_is_not_heard() -> None:
    """What is said again at once is meant for whom it has opened, not for us."""
    words = WakeWords(Wake(refractory_s=10.0))
    assert heard(words, "okay nabu", "okay nabu") == ["okay_nabu"]


@speaks
def test_a_higher_threshold_hears_less() -> None:
    """What is said well enough for the model is not for 0.9999."""
    assert heard(WakeWords(Wake(threshold=0.9999)), "okay nabu") == []
    assert heard(WakeWords(Wake(threshold=0.5)), "okay nabu") == ["okay_nabu"]


@speaks
def test_a_model_by_path_is_heard_under_its_own_name(tmp_path: Path) -> None:
    """Any microWakeWord model will do; the engine's own need not be listened for."""
    described = json.loads((MODELS / "alexa.json").read_text())
    described["model"] = "computer.tflite"
    shutil.copy(MODELS / "alexa.tflite", tmp_path / "computer.tflite")
    (tmp_path / "computer.json").write_text(json.dumps(described))
    words = WakeWords(Wake(words=(), models=(str(tmp_path / "computer.json"),)))
    assert heard(words, "okay nabu", "alexa") == ["computer"]


def test_an_engine_that_is_not_installed_is_named_with_the_remedy() -> None:
    """One line with the command."""
    with pytest.raises(ConfigError, match=r"not installed: pip install 'device-agent\[wake\]'"):
        check(Wake(), lambda name: None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        ("{", "is no wake-word model"),
        ("[]", "is no wake-word model"),
        ('{"model": "x.tflite"}', "is no wake-word model"),
        (
            '{"model": "x.tflite", "wake_word": "x", "micro": {"probability_cutoff": 1, "sliding_window_size": 5}}',
            "x.tflite, which m.json names, does not exist",
        ),
    ],
)
def test_a_model_that_is_none_is_named(tmp_path: Path, content: str | None, problem: str) -> None:
    """Before anything starts: the file, what is wrong with it, what it must be."""
    file = tmp_path / "m.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=problem):
        check(Wake(models=(str(file),)))


def test_a_word_that_nobody_knows_is_refused_by_the_configuration(tmp_path: Path) -> None:
    """The words that there are stand in the message; a mode without any word is a contradiction."""
    paths = Paths(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="okay_nabu, hey_jarvis, hey_mycroft, alexa"):
        load(paths, {}, ["wake.words=hal"])
    with pytest.raises(ConfigError, match="are empty: name a word"):
        load(paths, {}, ["activation.modes=wake-word", "wake.words="])
