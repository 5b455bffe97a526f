"""Logging never makes a worker wait, nor ends one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator

import pytest

from device_agent.system.log import MOST_EVENTS, Limit, LineWriter, QueueingHandler, configure, formatter, is_journal


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


def record(level: int, text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("x", level, "", 0, text, values, None)


def test_journald_gets_priorities() -> None:
    """A number in angle brackets before each line, also of a text of several."""
    said = [formatter("journal").format(record(level, "an.event\nmore")) for level in (10, 20, 30, 40, 50)]
    assert [text.splitlines()[0][:3] for text in said] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert said[0].splitlines()[1] == "<7>more"


def test_json_has_the_events_keys() -> None:
    """As values, not as text; what is no event is a message."""
    line = json.loads(formatter("json").format(record(logging.WARNING, "card.lost name=%r rate=%d", "USB", 48_000)))
    assert (line["event"], line["name"], line["rate"], line["level"]) == ("card.lost", "USB", 48_000, "warning")
    line = json.loads(formatter("json").format(record(logging.INFO, "%s is up", "it")))
    assert line["message"] == "it is up"


def test_only_a_stream_that_leads_to_journald_counts_as_one(pipe: tuple[int, int]) -> None:
    """systemd names the stream by device and inode: after a redirection it is another one."""
    status = os.fstat(pipe[1])
    assert is_journal(pipe[1], {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not is_journal(pipe[1], {"JOURNAL_STREAM": "8:1"})
    assert not is_journal(pipe[1], {})
    assert not is_journal(999_999, {"JOURNAL_STREAM": "8:1"})


def test_one_event_cannot_fill_the_log() -> None:
    """10 lines a minute of each; the first of the next minute says how many were left out; others are not touched."""
    now = [0.0]
    limit = Limit(lambda: now[0])
    storm = [limit.filter(record(logging.WARNING, "bad.thing n=%d", n)) for n in range(500)]
    assert sum(storm) == 10
    assert limit.filter(record(logging.WARNING, "other.thing"))
    now[0] = 60.0
    later = record(logging.WARNING, "bad.thing n=%d", 7)
    assert limit.filter(later)
    assert later.getMessage() == "bad.thing n=7 left-out=490"


def test_a_message_without_arguments_keeps_its_percent_signs() -> None:
    """What was left out is said of it too, and nothing in it is taken for a place to fill."""
    now = [0.0]
    limit = Limit(lambda: now[0])
    for _ in range(11):
        limit.filter(record(logging.WARNING, "disk.full 100% used"))
    now[0] = 60.0
    later = record(logging.WARNING, "disk.full 100% used")
    assert limit.filter(later)
    assert later.getMessage() == "disk.full 100% used left-out=1"


def test_the_limits_memory_is_bounded() -> None:
    """A thousand different events, one a second: those of earlier minutes are forgotten."""
    now = [0.0]
    limit = Limit(lambda: now[0])
    for n in range(1000):
        now[0] = float(n)
        assert limit.filter(record(logging.WARNING, f"event.{n}"))
    assert len(limit._windows) <= MOST_EVENTS


def test_a_key_never_reaches_the_log() -> None:
    """Whoever logs it: the last line of defence."""
    lines: list[str] = []
    handler = QueueingHandler(lines.append)
    for style in ("text", "journal", "json"):
        handler.setFormatter(formatter(style))
        handler.handle(record(logging.ERROR, "refused key=%s", "sk_0123456789abcdefCANARY"))
    assert len(lines) == 3 and "CANARY" not in "".join(lines)
