"""The spoken clips, made by espeak-ng from `sounds/clips.toml`: `script/sounds` writes them where they are read.

Each language's directory also gets `said.json`, what its recordings say: so a table that is ahead of them is found.
"""

from __future__ import annotations

import array
import json
import math
import subprocess
import tempfile
import tomllib
import wave
from collections.abc import Mapping
from operator import mul
from pathlib import Path

from device_agent.audio.clips import RATE, SOUNDS
from device_agent.errors import UsageError
from device_agent.protocol import ulaw
from device_agent.runtime.resample import Resampler

TABLE = SOUNDS / "clips.toml"
SAID = "said.json"
WORDS_PER_MINUTE = 165
LEVEL_DBFS = -20.0  # mean level of what is loud enough to be speech
QUIET = 200  # below this a sample at either end is silence
EDGE_MS = 10


def table(file: Path = TABLE) -> Mapping[str, Mapping[str, str]]:
    """For each language its voice and its sentences. Raises `UsageError` where two languages differ in their names."""
    languages: dict[str, dict[str, str]] = tomllib.loads(file.read_text("utf-8"))
    names = {language: set(sentences) for language, sentences in languages.items()}
    for language, own in names.items():
        if missing := set().union(*names.values()) - own:
            raise UsageError(f"{file}: [{language}] lacks {', '.join(sorted(missing))}")
    return languages


def speak(text: str, voice: str) -> bytes:
    """s16le samples at 16 kHz, without silence around them, all equally loud. Raises `UsageError` without espeak-ng."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "speech.wav")
        command = ("espeak-ng", "-v", voice, "-s", str(WORDS_PER_MINUTE), "-w", str(file), text)
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=30)
        except FileNotFoundError:
            raise UsageError("espeak-ng is missing: sudo apt install espeak-ng") from None
        except subprocess.CalledProcessError as error:
            raise UsageError(f"espeak-ng does not speak {voice!r}: {error.stderr.decode().strip()}") from error
        with wave.open(str(file)) as source:
            resampler = Resampler(source.getframerate(), RATE)
            pcm = resampler.process(source.readframes(source.getnframes())) + resampler.drain()
    return _levelled(_trimmed(array.array("h", pcm))).tobytes()


def _trimmed(samples: array.array[int]) -> array.array[int]:
    loud = [at for at, value in enumerate(samples) if abs(value) > QUIET]
    edge = RATE * EDGE_MS // 1000
    kept = samples[max(0, loud[0] - edge) : loud[-1] + edge]
    for n in range(edge):
        kept[n] = kept[n] * n // edge
        kept[-1 - n] = kept[-1 - n] * n // edge
    return kept


def _levelled(samples: array.array[int]) -> array.array[int]:
    loud = [value for value in samples if abs(value) > QUIET]
    mean = math.sqrt(sum(map(mul, loud, loud)) / len(loud))
    gain = min(32_768 * 10 ** (LEVEL_DBFS / 20) / mean, 32_000 / max(map(abs, samples)))
    return array.array("h", (round(value * gain) for value in samples))


def write(directory: Path = SOUNDS) -> list[Path]:
    """One file for each sentence; returns their paths."""
    files = []
    for language, sentences in table(directory / TABLE.name).items():
        own = directory / language
        own.mkdir(exist_ok=True)
        for name, text in sentences.items():
            if name != "voice":
                files.append(own / f"{name}.ulaw")
                files[-1].write_bytes(ulaw.encode(speak(text, sentences["voice"])))
        (own / SAID).write_text(json.dumps(sentences, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return files


if __name__ == "__main__":
    for file in write():
        print(f"{file}: {file.stat().st_size / RATE:.1f} s")
