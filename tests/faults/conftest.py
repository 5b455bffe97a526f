"""The tier of the fault table: the started program, driven from outside; what was measured goes into docs/faults.md."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from steady import pytest_runtest_protocol  # noqa: F401 (the hook that knows of stalls)

sys.path.insert(0, str(Path(__file__).parents[1] / "audio"))
sys.path.insert(0, str(Path(__file__).parent))

from device_agent.bench.virtual_audio import VirtualCards

MEASURED = Path(__file__).with_name("measured.json")


@pytest.fixture(scope="session")
def cards() -> Iterator[VirtualCards]:
    with VirtualCards() as virtual:
        yield virtual


@pytest.fixture(scope="session")
def figure() -> Iterator[Callable[[int, str], None]]:
    """Keeps what was measured of a row; it is saved where SAVE_FIGURES is set."""
    found: dict[str, str] = {}

    def keep(row: int, text: str) -> None:
        print(f"row {row}: {text}")
        found[str(row)] = text

    yield keep
    if os.environ.get("SAVE_FIGURES"):
        with MEASURED.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two processes may measure at the same time
            known = dict(sorted((json.load(file) | found).items(), key=lambda item: int(item[0])))
            file.seek(0)
            file.truncate()
            file.write(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
