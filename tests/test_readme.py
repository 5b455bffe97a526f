"""The README says what the program is."""

from __future__ import annotations

from pathlib import Path

from device_agent.core.tables import mermaid

README = Path(__file__).parent.parent / "README.md"


def between(text: str, marker: str) -> str:
    return text.partition(f"<!-- {marker} -->\n")[2].partition(f"<!-- /{marker} -->")[0]


def test_state_diagram_is_current() -> None:
    """The README's diagram is the one that the state tables give."""
    assert between(README.read_text(), "states") == f"```mermaid\n{mermaid()}\n```\n"


def test_front_door_is_named() -> None:
    """The README's two commands exist and are executable."""
    for command in ("script/demo", "script/test"):
        assert command in README.read_text()
        assert (README.parent / command).stat().st_mode & 0o111
