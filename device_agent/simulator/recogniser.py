"""Who listens and who knows the answer: a closed-grammar recogniser, a script, or an echo."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from device_agent.errors import UsageError
from device_agent.simulator import intents
from device_agent.simulator.hearing import RATE, dbfs, peak
from device_agent.simulator.intents import Answer


class Mind(Protocol):
    """One per connection."""

    def forget(self) -> None:
        """A new caller: what was learned from the last one, and an unfinished turn, are void."""

    def listen(self, turn: bytes) -> None:
        """Takes the turn as heard so far; called again and again as it grows."""

    def partial(self) -> str:
        """What was understood up to now."""

    def finish(self) -> str:
        """The final transcript; the next `listen` begins a new turn."""

    def answer(self, number: int, transcript: str, turn: bytes) -> Answer:
        """What to do about turn `number` (from 1). The same arguments give the same answer."""


class Recogniser:
    """pocketsphinx on `intents.GRAMMAR`. Good for clean, close speech, no more.

    Sentences outside the grammar mostly score below `_REJECT`; some are mistaken for one that is inside.
    """

    _REJECT = 0.79  # per second; of flite's sentences, 48 of 48 inside were above 0.81, 26 of 30 outside below 0.78

    # Where its cepstral means begin: those of flite's voices at full level. From here it adapts to its caller.
    # With the library's own values a loud first sentence fails (13 of 39 at +6 dB, 1 of 39 with these).
    _MEANS = "52,4,6,26,3,0,7,-7,-4,-5,6,1,1"

    def __init__(self, now: Callable[[], datetime] = datetime.now) -> None:
        from pocketsphinx import Decoder  # not on 32-bit machines

        with tempfile.NamedTemporaryFile("w", suffix=".gram") as grammar:
            grammar.write(intents.GRAMMAR)
            grammar.flush()
            self._decoder: Any = Decoder(jsgf=grammar.name, samprate=float(RATE), loglevel="FATAL", logfn=os.devnull)
        self._now = now
        self._taken = 0
        self.forget()

    def forget(self) -> None:
        if self._taken:
            self._decoder.end_utt()
            self._taken = 0
        self._decoder.set_cmn(self._MEANS)

    def listen(self, turn: bytes) -> None:
        if len(turn) == self._taken:
            return  # pocketsphinx refuses to process nothing
        if self._taken == 0:
            self._decoder.start_utt()
        self._decoder.process_raw(turn[self._taken :], False, False)
        self._taken = len(turn)

    def partial(self) -> str:
        found = self._decoder.hyp()
        return found.hypstr if found else ""

    def finish(self) -> str:
        if self._taken == 0:
            return ""
        self._decoder.end_utt()
        found, seconds = self._decoder.hyp(), self._taken / 2 / RATE
        self._taken = 0
        return found.hypstr if found and found.score ** (1 / seconds) >= self._REJECT else ""

    def answer(self, number: int, transcript: str, turn: bytes) -> Answer:
        return intents.answer(transcript, self._now())


class Minds:
    """Lends a mind to each connection, and makes a new one only when all are taken: a recogniser loads in 0.1 s."""

    def __init__(self, make: Callable[[], Mind]) -> None:
        self._make = make
        self._free: deque[Mind] = deque([make()])

    def take(self) -> Mind:
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def give(self, mind: Mind) -> None:
        """Takes `mind` back when its connection is over."""
        mind.forget()
        self._free.append(mind)


class Deaf:
    """Hears that someone speaks, but not what."""

    def forget(self) -> None: ...

    def listen(self, turn: bytes) -> None: ...

    def partial(self) -> str:
        return ""

    def finish(self) -> str:
        return ""


class Script(Deaf):
    """Answers in the order of a list, the last one again and again."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers

    def answer(self, number: int, transcript: str, turn: bytes) -> Answer:
        return self._answers[min(number, len(self._answers)) - 1]

    @classmethod
    def load(cls, path: Path) -> Script:
        """Reads a JSON list of objects with the fields of `Answer`. Raises UsageError where it is none."""
        try:
            answers = [Answer(**item) for item in json.loads(path.read_text())]
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"{path}: not a list of answers: {error}") from error
        if not answers:
            raise UsageError(f"{path}: an empty script; give at least one answer")
        return cls(answers)

    @classmethod
    def fallback(cls) -> Script:
        """The five answers in order, where no recogniser is installed."""
        sentences = ("what time is it", "set a timer for five minutes", "tell me a joke", "set the volume to forty")
        asked = [intents.answer(s, datetime.now()) for s in sentences]
        return cls([*asked, intents.answer("goodbye", datetime.now())])


class Echo(Deaf):
    """The echo call: plays each turn back and says what the samples looked like."""

    def answer(self, number: int, transcript: str, turn: bytes) -> Answer:
        top = peak(turn)
        clipped = "clipped" if top >= 32_767 else "not clipped"
        text = f"I heard {len(turn) / 2 / RATE:.1f} s at {dbfs(turn):.1f} dBFS, peak {top / 327.68:.0f} %, {clipped}."
        return Answer(text, pcm=bytes(turn))
