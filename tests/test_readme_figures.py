"""The README's figures are those of the results, word for word."""

from __future__ import annotations

import pytest

from tests.benchmarks.figures import NOT_MEASURED, README, load, published, render


def test_readme_shows_the_results() -> None:
    """The README holds the table that `python -m tests.benchmarks.figures` makes from results/*.json."""
    assert published(README.read_text()) == render(load())


def test_readme_without_markers() -> None:
    """A README that lost its markers is no README without figures: it is refused."""
    with pytest.raises(ValueError, match="figures"):
        published("# device_agent")


def test_rows_without_results() -> None:
    """What was not measured is said, not left out."""
    assert NOT_MEASURED in render({})
