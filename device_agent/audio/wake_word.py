"""Wake words, by pymicro-wakeword: several at once, its own models or others by path.

The library gives features and models; the step between them is here, because its own costs twice as much (by numpy on
arrays of 40 numbers).
"""

from __future__ import annotations

import ctypes
import json
from collections import deque
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from device_agent.config.schema import Settings, Wake
from device_agent.core.activation import WAKE_WORD
from device_agent.errors import ConfigError

PIECE = 320  # bytes: the 10 ms that the features are made of
INSTALL = "pip install 'device-agent[wake]'"
FRAME_S = 0.02
INT8 = 9  # of TfLiteType


def wanted(settings: Settings) -> WakeWords | None:
    """The words, where they are waited for. Raises `ConfigError` where they cannot be heard."""
    return WakeWords(settings.wake) if WAKE_WORD in settings.activation.modes else None


def check(settings: Wake, find: Callable[[str], object] = find_spec) -> None:
    """Raises `ConfigError` for what would keep the words from being heard: before anything starts."""
    if not (find("pymicro_wakeword") and find("pymicro_features")):
        raise ConfigError(f"activation.modes names wake-word, whose engine is not installed: {INSTALL}")
    problems = [problem for file in settings.models if (problem := _problem(Path(file)))]
    if problems:
        raise ConfigError(*problems)


def _problem(file: Path) -> str:
    """What is wrong with a model's description, in one line; empty if nothing is."""
    remedy = "it must be a microWakeWord .json beside its .tflite"
    try:
        described = json.loads(file.read_text("utf-8"))
        model = file.parent / described["model"]
        described["wake_word"], described["micro"]["probability_cutoff"], described["micro"]["sliding_window_size"]
    except OSError as error:
        return f"wake.models: {file} cannot be read ({error.strerror}): {remedy}"
    except (ValueError, KeyError, TypeError):
        return f"wake.models: {file} is no wake-word model: {remedy}"
    return "" if model.is_file() else f"wake.models: {model}, which {file.name} names, does not exist: {remedy}"


class Word:
    """One model, and what it has made of the last moments."""

    def __init__(self, engine: Any, threshold: float = 0.0) -> None:
        self.name: str = engine.id
        self._engine = engine
        self._threshold: float = threshold or engine.probability_cutoff
        self._values: list[float] = []
        self._windows = 0
        self._chances: deque[float] = deque(maxlen=engine.sliding_window_size)
        self._output = (
            ctypes.c_int8 if engine.lib.TfLiteTensorType(engine.output_tensor) == INT8 else ctypes.c_uint8
        )()

    def step(self, features: Sequence[float]) -> bool:
        """Whether the word ends in these 10 ms."""
        engine = self._engine
        self._values += features
        self._windows += 1
        if self._windows < engine.stride:
            return False
        scale, zero = engine.input_scale, engine.input_zero_point
        data = bytes([round(value / scale + zero) & 0xFF for value in self._values])
        self._values, self._windows = [], 0
        engine.lib.TfLiteTensorCopyFromBuffer(engine.input_tensor, data, len(data))
        engine.lib.TfLiteInterpreterInvoke(engine.interpreter)
        engine.lib.TfLiteTensorCopyToBuffer(engine.output_tensor, ctypes.byref(self._output), 1)
        chances = self._chances
        chances.append((self._output.value - engine.output_zero_point) * engine.output_scale)
        return len(chances) == chances.maxlen and sum(chances) / len(chances) > self._threshold

    def reset(self) -> None:
        """Forget what was heard."""
        self._values, self._windows = [], 0
        self._chances.clear()
        self._engine.reset()  # loads the model again, in 1 ms: there is no other way to empty it


class WakeWords:
    """All configured words at once; owned by one thread. Raises `ConfigError` for a model that does not load."""

    def __init__(self, settings: Wake) -> None:
        check(settings)
        from pymicro_features import MicroFrontend
        from pymicro_wakeword import MicroWakeWord, Model

        self._frontend = MicroFrontend()
        least = settings.threshold
        self._words = [Word(MicroWakeWord.from_builtin(Model(name)), least) for name in settings.words]
        for file in settings.models:
            try:
                self._words.append(Word(MicroWakeWord.from_config(file), least))
            except Exception as error:  # whatever the library makes of a broken file
                raise ConfigError(
                    f"wake.models: {file} does not load ({error}): is it a microWakeWord model?"
                ) from None
        self._rest = b""
        self._refractory = round(settings.refractory_s / FRAME_S)
        self._ignored = 0

    def hear(self, pcm: bytes) -> str:
        """20 ms of 16 kHz samples; the name of the word that ended in them, empty if none did."""
        found = ""
        for piece in (pcm[:PIECE], pcm[PIECE:]):
            features = self._frontend.process_samples(piece).features
            if features:
                for word in self._words:
                    if word.step(features) and not found:
                        found = word.name
        if self._ignored:
            self._ignored -= 1
            return ""
        if found:
            self.reset()
            self._ignored = self._refractory
        return found

    def reset(self) -> None:
        """Forget what was heard: what comes has nothing to do with it."""
        self._frontend.reset()
        for word in self._words:
            word.reset()
