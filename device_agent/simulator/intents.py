"""The five things that the simulated agent understands: grammar, meaning, answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_WORDS = {word: value for value, word in enumerate(_UNITS)} | _TENS

GRAMMAR = f"""#JSGF V1.0;
grammar agent;
public <question> = [hello | please] (<time> | <timer> | <joke> | <volume> | <goodbye>) [please | thank you];
<time> = what time is it [now] | what is the time | what's the time | tell me the time
       | can you tell me the time | do you know what time it is | do you have the time;
<timer> = (set | start) a timer (for | of) <number> (second | seconds | minute | minutes)
        | (set | start) a <number> (second | minute) timer;
<joke> = tell me (a | another) joke | can you tell me a joke | do you know a joke | make me laugh;
<volume> = (set | turn | change) the volume to <number> [percent] | volume <number> percent;
<goodbye> = goodbye | good bye | bye | bye bye | see you later | that is all;
<number> = <unit> | <tens> [<unit>] | a hundred | one hundred;
<unit> = {" | ".join(_UNITS[1:])};
<tens> = {" | ".join(_TENS)};
"""
"""JSGF of every sentence that is understood; the recogniser hears nothing else."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent does next: call `tool` if named, then say `text` (as `pcm` if given), then hang up if `ends`."""

    text: str
    tool: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ends: bool = False
    pcm: bytes | None = None


SORRY = "Sorry, I did not understand that."
JOKE = "Why did the robot take a holiday? It had to recharge its batteries."
FAREWELL = "Goodbye. It was nice to talk with you."
TOOL_FAILED = "Sorry, that did not work."
FIXED = (SORRY, JOKE, FAREWELL, TOOL_FAILED)
"""Answers whose sound can be made ahead."""


def number(words: list[str]) -> int:
    """The value of spoken number words, such as ``forty five`` or ``a hundred``."""
    if "hundred" in words:
        return 100
    return sum(_WORDS[word] for word in words)


def answer(transcript: str, now: datetime) -> Answer:
    """What to do about a sentence of `GRAMMAR`; anything else is not understood. `now` is local time."""
    words = transcript.split()
    amount = number([w for w in words if w in _WORDS or w == "hundred"])
    if "timer" in words and amount:
        return _timer(amount, minutes=any(w.startswith("minute") for w in words))
    if "volume" in words and amount:
        return Answer(f"The volume is now {amount} percent.", "set_volume", {"percent": amount})
    if "time" in words:
        return Answer(f"It is {now:%H:%M}.")
    if "joke" in words or "laugh" in words:
        return Answer(JOKE)
    if {"goodbye", "bye", "later", "all"} & set(words):
        return Answer(FAREWELL, ends=True)
    return Answer(SORRY)


def _timer(amount: int, minutes: bool) -> Answer:
    unit = ("minute" if minutes else "second") + ("" if amount == 1 else "s")
    return Answer(f"Your timer is set for {amount} {unit}.", "set_timer", {"seconds": amount * (60 if minutes else 1)})
