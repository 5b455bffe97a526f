"""Client tools in the running product: what the server gets back, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig import TALK, Call, call

from device_agent.bench.virtual_audio import VirtualCards

EXAMPLE = Path(__file__).parents[2] / "examples" / "opening_hours.py"
HANGS = '''
import threading
from device_agent import tool

@tool
def wait_for_ever() -> str:
    """Never answers."""
    threading.Event().wait()
    return ""
'''


def ask(run: Call, name: str, **parameters: object) -> tuple[float, bool, str]:
    """Call a tool; seconds until the server had its answer, whether that is an error, and its text."""
    asked = run.simulator.order("tool", name=name, parameters=parameters)
    result = run.simulator.wait("tool_result", since=asked)
    return result["t"] - asked, result["is_error"], result["result"]


def test_tools_answer_fail_and_hang(cards: VirtualCards, tmp_path: Path) -> None:
    """A good call is answered; unknown, wrong and hanging ones are errors, the last by its deadline; the talk goes on.

    Sabotage: with a deadline of 3 s the hanging call is not answered in the first 2 s.
    """
    hangs = tmp_path / "hangs.py"
    hangs.write_text(HANGS)
    settings = (*TALK, f"tools.files={EXAMPLE},{hangs}", "tools.timeout_s=1")
    with call(cards, *settings) as run:
        run.ready()
        took, failed, text = ask(run, "opening_hours", day="monday")
        assert (failed, bool(text)) == (False, True)
        assert took < 0.5
        assert ask(run, "fly")[1]
        assert ask(run, "opening_hours", day=7)[1]
        took, failed, text = ask(run, "wait_for_ever")
        assert failed
        assert 0.9 < took < 2.0
        run.silent()
        assert run.audible(run.simulator.order("audio", ms=300))
        assert run.violations() == []


@pytest.mark.slow
def test_a_later_deadline_is_seen(cards: VirtualCards, tmp_path: Path) -> None:
    """Sabotage: the same call with a deadline of 3 s takes 3 s."""
    hangs = tmp_path / "hangs.py"
    hangs.write_text(HANGS)
    with call(cards, *TALK, f"tools.files={hangs}", "tools.timeout_s=3") as run:
        run.ready()
        assert not 0.9 < ask(run, "wait_for_ever")[0] < 2.0
