"""The document of echo, barge-in and gate says what was measured."""

from __future__ import annotations

import json

from tests.benchmarks.rooms import DOCUMENT, RESULT, document


def test_the_document_is_made_from_the_measurement() -> None:
    """`python -m tests.benchmarks.rooms` makes both."""
    assert DOCUMENT.read_text() == document(json.loads(RESULT.read_text()))
