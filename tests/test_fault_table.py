"""docs/faults.md is what the table and the last measurement say, and every proof that it names exists."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fault_table", ROOT / "tests/faults/table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_document_is_current() -> None:
    """`python tests/faults/table.py` writes it."""
    assert (ROOT / "docs/faults.md").read_text() == table().text()


def test_the_readme_is_current() -> None:
    """Its ten recoveries are those that were measured last; a README without their markers is refused."""
    faults = table()
    assert faults.published(faults.README.read_text()) == faults.top()
    assert len(faults.TOP) == 10
    with pytest.raises(ValueError, match="faults"):
        faults.published("# device_agent")


def test_every_row_that_drives_the_program_names_what_turns_it_red() -> None:
    """A witness that cannot see a fault proves nothing: a test says what it must see."""
    faults = table()
    assert [row.number for row in faults.ROWS if row.kind == "process" and not faults.sabotages(row)] == []


def test_every_row_has_its_place_and_a_proof_that_exists() -> None:
    """68 rows in order; those that are not open name proofs; fakes are few, and say why."""
    faults = table()
    assert [row.number for row in faults.ROWS] == list(range(1, 69))
    assert faults.missing_proofs() == []
    assert all(bool(row.proofs) == (row.kind != "open") for row in faults.ROWS)
    assert all(bool(row.why) == (row.kind == "fake") and row.kind in faults.KINDS for row in faults.ROWS)
    assert sum(row.kind == "fake" for row in faults.ROWS) <= faults.MOST_FAKES
