"""The spoken clips: complete in every language, current, small, and equally loud."""

from __future__ import annotations

import array
import json
import shutil
from pathlib import Path

import pytest

from device_agent.audio.clips import RATE, SOUNDS
from device_agent.bench.speech import SAID, TABLE, speak, table, write
from device_agent.core.sounds import CAUSES, RULES
from device_agent.errors import UsageError
from device_agent.protocol import ulaw

CLIPS = sorted(SOUNDS.glob("*/*.ulaw"))
speaks = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng makes the clips")


def test_the_recordings_say_what_the_table_says() -> None:
    """`script/sounds` brings them up to date."""
    for language, sentences in table().items():
        own = SOUNDS / language
        assert json.loads((own / SAID).read_text("utf-8")) == sentences
        assert {file.stem for file in own.glob("*.ulaw")} == set(sentences) - {"voice"}


def test_whatever_may_have_to_be_said_can_be_said() -> None:
    """Every rule and every cause has its sentence, in English and German."""
    wanted = {rule.speech for rule in RULES if rule.speech not in ("", "cause")} | set(CAUSES.values())
    assert {"en", "de"} <= set(table())
    for sentences in table().values():
        assert wanted <= set(sentences)


def test_all_sounds_together_stay_below_1_mb() -> None:
    """They are in every package, and those of one language in memory."""
    assert sum(file.stat().st_size for file in SOUNDS.rglob("*") if file.is_file()) < 1_000_000


@pytest.mark.parametrize("file", CLIPS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_clip_is_short_loud_enough_and_begins_and_ends_in_silence(file: Path) -> None:
    """At most 4.5 s; −20 dBFS while it speaks, within 2 dB; no click at its ends, no second of silence within."""
    samples = array.array("h", ulaw.decode(file.read_bytes()))
    assert RATE < len(samples) < 4.5 * RATE
    loud = [value for value in samples if abs(value) > 200]
    level = (sum(value * value for value in loud) / len(loud)) ** 0.5
    assert 2_600 < level < 4_100
    assert max(map(abs, samples)) < 32_500
    assert abs(samples[0]) <= 8 and abs(samples[-1]) <= 8
    assert len(loud) > len(samples) / 4


def test_a_language_that_lacks_a_sentence_is_named(tmp_path: Path) -> None:
    """One line with the file, the language and what is missing."""
    file = tmp_path / TABLE.name
    file.write_text('[en]\nvoice = "en"\nmuted = "Off."\n[fr]\nvoice = "fr"\n')
    with pytest.raises(UsageError, match=r"\[fr\] lacks muted"):
        table(file)


@speaks
def test_another_language_is_another_section(tmp_path: Path) -> None:
    """Anyone can add one: a voice of espeak-ng and the sentences."""
    (tmp_path / TABLE.name).write_text('[fr]\nvoice = "fr"\nmuted = "Le micro est coupé."\n')
    (file,) = write(tmp_path)
    assert file == tmp_path / "fr" / "muted.ulaw"
    assert file.stat().st_size > RATE // 2


@speaks
def test_an_unknown_voice_is_named() -> None:
    """The complaint is espeak-ng's, in one line."""
    with pytest.raises(UsageError, match="does not speak 'zz-none'"):
        speak("x", "zz-none")
