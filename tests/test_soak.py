"""The soak's verdict: a run in which anything was wrong is not green. Each case is a sabotage of a good one."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults.soak import Sample, Soak

GOOD = [Sample(50.0, 20, 8)] * 30


def soak(samples: list[Sample], ended: int | None = None, silence: float = 1.0) -> Soak:
    """One that has run."""
    stand_in: Any = SimpleNamespace(poll=lambda: ended, returncode=ended, longest_silence=lambda _word: silence)
    made = Soak(stand_in, stand_in, stand_in, stand_in, Path(), random.Random(1), words=b"")
    made.samples += samples
    made.recovered["the sound server dies"] += [1.0, 1.0]
    return made


def test_a_run_without_faults_of_ours_is_green() -> None:
    """And what a restart of the sound library keeps is allowed for."""
    assert soak(GOOD).verdict() == []
    assert soak([*GOOD[:20], *[Sample(51.1, 20, 8)] * 10]).verdict() == []


@pytest.mark.parametrize(
    ("grown", "said"),
    [
        (Sample(51.3, 20, 8), "rss_mb grew from 50.0 to 51.3"),
        (Sample(50.0, 21, 8), "descriptors grew from 20.0 to 21.0"),
        (Sample(50.0, 20, 9), "threads grew from 8.0 to 9.0"),
    ],
)
def test_whatever_grows_is_wrong(grown: Sample, said: str) -> None:
    """Sabotage: memory, a descriptor or a thread that is left behind."""
    assert soak([*GOOD[:20], *[grown] * 10]).verdict() == [said]


def test_what_was_not_recovered_from_is_wrong() -> None:
    """Sabotage: one fault that stays, a program that ends, a watchdog that is not fed, a run too short to tell."""
    made = soak(GOOD, ended=-11, silence=11.0)
    made.failed["a long reply"] += 1
    assert made.verdict() == [
        "1 × not recovered from: a long reply",
        "the program ended with -11",
        "no ping of the watchdog for 11.0 s",
    ]
    assert soak(GOOD[:10]).verdict() == ["too short to say whether anything grows"]
