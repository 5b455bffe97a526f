"""Synthetic sound: voices, noises and rooms, all from seeds. 16 kHz, floats in −1 … 1."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

RATE = 16_000
FRAME = 320
VOICES = ("kal16", "awb", "rms", "slt")
SENTENCES = (
    "What time is it?",
    "Please turn the light on in the kitchen.",
    "How far is it to the station?",
    "I would like to know more about that.",
    "Tell me a joke.",
    "Wait, that is not what I meant.",
)
STORY = (
    "The lighthouse stood at the end of a long pier. Every evening the keeper climbed two hundred steps, lit the lamp, "
    "and wrote the weather into a book. One night a ship came too close to the rocks. He rang the bell until his arms "
    "were tired, and in the morning the captain brought him a basket of oranges. "
)


@cache
def say(text: str, voice: str) -> np.ndarray:
    """flite's voice, without the silence around it."""
    with TemporaryDirectory() as home:
        file = Path(home) / "speech.wav"
        subprocess.run(("flite", "-voice", voice, "-t", text, "-o", file), check=True)
        sound = np.frombuffer(file.read_bytes()[44:], "<i2").astype(float) / 32768
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return sound[loud[0] : loud[-1]]


def level(sound: np.ndarray) -> float:
    """dBFS."""
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


def at_level(sound: np.ndarray, dbfs: float) -> np.ndarray:
    """The sound at this mean level of its loud parts."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    loud = np.percentile(np.mean(frames**2, axis=1), 75)
    return sound * 10 ** (dbfs / 20) / np.sqrt(loud)


def story(seconds: float, voice: str = "slt") -> np.ndarray:
    """Somebody who talks and talks."""
    told = say(STORY, voice)
    pause = np.zeros(RATE // 2)
    parts, length = [], 0
    for part in cycle((told, pause)):
        parts.append(part)
        length += len(part)
        if length >= seconds * RATE:
            return np.concatenate(parts)[: int(seconds * RATE)]
    raise AssertionError


@dataclass(frozen=True)
class Utterance:
    start: int
    end: int


def utterances(dbfs: float, pause_s: float = 2.5) -> tuple[np.ndarray, list[Utterance]]:
    """24 sentences, every voice each of six, with pauses; where each begins and ends, in samples."""
    parts, found, at = [np.zeros(RATE * 3)], [], RATE * 3
    for text in SENTENCES:
        for voice in VOICES:
            spoken = at_level(say(text, voice), dbfs)
            found.append(Utterance(at, at + len(spoken)))
            parts += [spoken, np.zeros(int(pause_s * RATE))]
            at += len(spoken) + int(pause_s * RATE)
    return np.concatenate(parts), found


def noise(kind: str, samples: int, seed: int = 11) -> np.ndarray:
    """white, pink, fan (with hum), music, clicks, babble or a voice, at 0 dBFS RMS (while they sound)."""
    chance = np.random.default_rng(seed)
    white = chance.standard_normal(samples)
    t = np.arange(samples) / RATE
    if kind == "white":
        return white
    if kind == "pink":
        return _unit(_shaped(white, lambda f: 1 / np.sqrt(np.maximum(f, 20))))
    if kind == "fan":
        hum = sum(np.sin(2 * np.pi * 50 * n * t + n) / n for n in range(1, 8))
        return _unit(_unit(_shaped(white, lambda f: 1 / (1 + (f / 300) ** 2))) + 0.5 * _unit(hum))
    if kind == "music":
        return _unit(_music(chance, samples))
    if kind == "clicks":
        sound = np.zeros(samples)
        for at in chance.integers(0, samples - 800, samples // (RATE // 2)):
            sound[at : at + 800] += chance.standard_normal(800) * np.exp(-np.arange(800) / 120)
        return sound / 0.3
    if kind == "babble":
        return _unit(sum(np.roll(story(samples / RATE, VOICES[n % 4]), n * 37_123) for n in range(8)))
    if kind == "voice":
        return at_level(story(samples / RATE, "rms"), 0.0)
    raise ValueError(kind)


def _unit(sound: np.ndarray) -> np.ndarray:
    return sound / np.sqrt(np.mean(sound**2))


def _shaped(white: np.ndarray, gain) -> np.ndarray:
    spectrum = np.fft.rfft(white) * gain(np.fft.rfftfreq(len(white), 1 / RATE))
    return np.fft.irfft(spectrum, len(white))


def _music(chance: np.random.Generator, samples: int) -> np.ndarray:
    """Chords of four harmonic notes, two a second, plucked."""
    sound, beat = np.zeros(samples), RATE // 2
    t = np.arange(2 * beat) / RATE
    for at in range(0, samples - 2 * beat, beat):
        for semitone in chance.choice((0, 2, 4, 5, 7, 9, 11, 12, 14), 4, replace=False):
            hz = 196 * 2 ** (semitone / 12)
            tone = sum(np.sin(2 * np.pi * hz * n * t) / n for n in range(1, 7))
            sound[at : at + 2 * beat] += tone * np.exp(-3 * t)
    return sound


@dataclass(frozen=True)
class Room:
    """Loudspeaker → microphone. `echo_db` is the echo's level against the user's voice."""

    name: str
    seed: int
    reverb_ms: int = 100
    delay_ms: int = 80
    saturated: bool = False
    ppm: float = 0.0
    echo_db: float = 0.0
    tuned: bool = True
    """Whether it was looked at while parameters were chosen."""

    def echo(self, played: np.ndarray) -> np.ndarray:
        """What the microphone hears of it, at unit gain for ordinary speech."""
        chance = np.random.default_rng(self.seed)
        length = RATE * self.reverb_ms // 1000
        response = chance.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
        response /= np.sqrt(np.sum(response**2))
        driven = np.tanh(6 * played) / 6 if self.saturated else played
        if self.ppm:
            driven = np.interp(np.arange(len(driven)) * (1 + self.ppm / 1e6), np.arange(len(driven)), driven)
        size = 1 << int(np.ceil(np.log2(len(driven) + length)))
        wet = np.fft.irfft(np.fft.rfft(driven, size) * np.fft.rfft(response, size), size)[: len(driven)]
        late = RATE * self.delay_ms // 1000
        return np.concatenate((np.zeros(late), wet))[: len(played)]


ROOMS = (
    Room("ideal", 1),
    Room("saturated", 2, saturated=True),
    Room("20 ppm", 3, ppm=20),
    Room("hard: +10 dB, saturated, 20 ppm", 4, saturated=True, ppm=20, echo_db=10),
    Room("hall: 300 ms, 100 ppm", 5, reverb_ms=300, ppm=100),
    Room("kiosk: +10 dB, saturated, 50 ppm, 200 ms", 6, saturated=True, ppm=50, reverb_ms=200, echo_db=10, tuned=False),
    Room("lobby: 250 ms, 80 ppm", 7, reverb_ms=250, ppm=80, tuned=False),
)


def pcm(sound: np.ndarray) -> bytes:
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
