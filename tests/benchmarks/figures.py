"""The README's table of figures, made from results/*.json and nothing else. ``python -m tests.benchmarks.figures``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .table import ROWS

RESULTS = Path(__file__).with_name("results")
README = Path(__file__).resolve().parents[2] / "README.md"
START, END = "<!-- figures -->", "<!-- /figures -->"
NOT_MEASURED = "not measured"


def load(directory: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Results by row name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(directory.glob("*.json"))}


def render(results: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown, and below it what it was measured on."""
    lines = ["| | official SDK | this program | to reach |", "|---|---|---|---|"]
    for row in ROWS:
        found = results.get(row.name, {}).get("samples", {})
        for line in row.lines:
            cells = [_cell(line.show, found.get(client)) for client in ("official", "ours")]
            lines.append(f"| {line.title} | {cells[0]} | {cells[1]} | {line.target} |")
    return "\n".join([*lines, "", *_origin(results)])


def _cell(show: Any, samples: Any) -> str:
    if samples is None:
        return NOT_MEASURED
    return show(samples) if samples else "–"


def _origin(results: dict[str, dict[str, Any]]) -> list[str]:
    if not results:
        return []
    machines = sorted({result["machine"] for result in results.values()})
    commits = sorted({result["commit"] for result in results.values()})
    sdks = sorted({result["sdk"] for result in results.values()})
    return [
        f"Medians; official SDK {', '.join(sdks)}, unmodified; both in the same run on the same virtual cards, "
        f"measured from outside. {'; '.join(machines)}. Commit {', '.join(commits)}. "
        "Raw samples: `tests/benchmarks/results/`."
    ]


def published(readme: str) -> str:
    """What the README says between its markers. Raises ValueError where there are none."""
    _, found, rest = readme.partition(START)
    inside, closed, _ = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"no {START} … {END}")
    return inside.strip()


def publish(readme: Path, table: str) -> None:
    """Puts `table` between the markers."""
    text = readme.read_text()
    published(text)
    before, after = text.partition(START)[0], text.partition(END)[2]
    readme.write_text(f"{before}{START}\n{table}\n{END}{after}")


if __name__ == "__main__":
    publish(README, render(load()))
