"""Logging never makes a worker wait, nor ends one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from device_agent.system.log import LineWriter, QueueingHandler, configure


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_lines_are_written_whole(pipe: tuple[int, int]) -> None:
    """Each line of a text is written by itself, an empty text as an empty line."""
    writer = LineWriter(pipe[1])
    writer.write("one\ntwo")
    writer.write("")
    assert os.read(pipe[0], 100) == b"one\ntwo\n\n"


def test_a_full_pipe_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    """What does not fit now is dropped and counted; the writer never waits."""
    writer = LineWriter(pipe[1])
    for _ in range(100):
        writer.write(10_000 * "x")
    assert 0 < writer.dropped < 100


def test_a_reader_that_went_away_is_no_error() -> None:
    """Lines are counted as dropped, and the device talks on."""
    read, write = os.pipe()
    os.close(read)
    writer = LineWriter(write)
    writer.write("nobody")
    os.close(write)
    assert writer.dropped == 1


def test_a_wrong_log_call_does_not_end_its_worker(capsys: pytest.CaptureFixture[str]) -> None:
    """A message that does not fit its arguments is reported on stderr and otherwise ignored."""
    lines: list[str] = []
    handler = QueueingHandler(lines.append)
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", ("no number",), None))
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", (7,), None))
    assert lines == ["7"]
    assert "--- Logging error ---" in capsys.readouterr().err


def test_all_logging_goes_through_the_queue() -> None:
    """One handler at the chosen level; websocket-client, which would log keys and words, stays silent."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines: list[str] = []
    try:
        configure("warning", lines.append)
        logging.getLogger("device_agent").info("not this")
        logging.getLogger("device_agent").warning("this key=%s", "value")
        logging.getLogger("websocket").error("a header")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("websocket").setLevel(logging.NOTSET)
    assert lines == ["WARNING MainThread this key=value"]
