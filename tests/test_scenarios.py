"""Each file in `scenarios/` is a story: what happens, and what the core orders, to the last word."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario import parse

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
SCENARIOS = {path.stem: parse(path.read_text()) for path in FILES}


@pytest.mark.parametrize("name", SCENARIOS, ids=lambda name: SCENARIOS[name].title)
def test_scenario(name: str) -> None:
    """What the file says happens is answered by the orders that it lists, in their order and at their times."""
    scenario = SCENARIOS[name]
    expected = [line for block in scenario.blocks for line in (block.line, *block.expected)]
    orders = scenario.run()
    given = [line for block, lines in zip(scenario.blocks, orders, strict=True) for line in (block.line, *lines)]
    assert [line.split() for line in given] == [line.split() for line in expected], f"in scenarios/{name}.txt"
