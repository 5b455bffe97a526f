"""The state file: what outlives a restart, a power cut, a full card and a corrupt file."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest
from fakes import FakeClock, Rendezvous

from device_agent.runtime.deadline import Deadline
from device_agent.system.state_file import Kept, StateFile, Usage, standard_path, write_atomically


def closed(state: StateFile) -> None:
    assert state.close(Deadline(5.0))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "state.json"


def test_what_was_changed_is_there_after_a_restart(file: Path) -> None:
    """Volume, mute and usage come back; the file is for its owner only and leaves no temporary one behind."""
    state = StateFile(file)
    assert state.kept == Kept()
    state.change(volume=40, muted=True)
    state.change(usage=Usage("2026-11-27", 61.5, "2026-11", 1000.0))
    closed(state)
    assert StateFile(file).kept == Kept(40, True, Usage("2026-11-27", 61.5, "2026-11", 1000.0))
    assert [path.name for path in file.parent.iterdir()] == ["state.json"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_does_not_change_anything_is_not_written(file: Path) -> None:
    """The same value again costs the memory card nothing."""
    state = StateFile(file)
    state.change(muted=False)
    closed(state)
    assert state.writes == 0
    assert not file.exists()


def test_a_hundred_changes_in_a_row_are_few_writes_and_the_last_one_counts(file: Path) -> None:
    """The first is written at once, the others together after 2 s, or at the stop."""
    state = StateFile(file)
    for volume in range(101):
        state.change(volume=volume)
    closed(state)
    assert 1 <= state.writes <= 2
    assert StateFile(file).kept.volume == 100


def test_a_change_waits_for_the_rest_of_the_spacing_only(file: Path) -> None:
    """After a time of calm the next change is written without being asked to hurry."""
    clock = FakeClock()
    state = StateFile(file, clock)
    state.change(volume=1)
    state._writer.join(5.0)  # type: ignore[union-attr]
    clock.advance(2.0)
    state.change(volume=2)
    state._writer.join(5.0)  # type: ignore[union-attr]
    assert json.loads(file.read_text())["volume"] == 2


def test_a_state_that_was_closed_once_spares_the_card_as_before(file: Path) -> None:
    """Before a reboot that then does not come."""
    state = StateFile(file, FakeClock())
    state.change(volume=1)
    closed(state)
    for volume in range(2, 12):
        state.change(volume=volume)
    closed(state)
    assert state.writes == 2
    assert StateFile(file).kept.volume == 11


def test_a_number_beyond_all_bounds_is_no_state(file: Path) -> None:
    """No corrupt file keeps the device from starting."""
    file.parent.mkdir(parents=True)
    file.write_text('{"volume": 30, "usage": {"day_s": 1' + 400 * "0" + "}}")
    assert StateFile(file).kept == Kept(volume=30)


def test_a_change_during_a_write_is_written_after_it(file: Path) -> None:
    """A slow medium delays, it does not lose, and the one who changes never waits for it."""
    slow = Rendezvous()
    stops = iter([slow.arrive])

    def clock() -> float:
        if threading.current_thread().name == "state":
            next(stops, lambda: None)()
        return 0.0

    state = StateFile(file, clock, spacing_s=0.0)
    state.change(volume=1)
    assert slow.reached()
    state.change(volume=2)
    assert not state.close(Deadline(0.0))
    slow.release()
    closed(state)
    assert StateFile(file).kept.volume == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, b'{"volume": 5}' + b" " * 70_000, b'{"usage": 3}',
     b'{"volume": "loud"}', b'{"volume": true}', b'{"muted": 1}', b'{"usage": {"day_s": NaN}}', b'{"volume": 2.5}'],
)  # fmt: skip
def test_a_corrupt_file_means_defaults_and_a_warning(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that lies in the file keeps the device from starting; it is named, and overwritten by the next change."""
    file.parent.mkdir()
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        state = StateFile(file)
    assert state.kept == Kept()
    assert len(caplog.records) == 1
    assert str(file) in caplog.text
    state.change(volume=7)
    closed(state)
    assert StateFile(file).kept.volume == 7


def test_a_wrong_field_does_not_cost_the_others(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only what is wrong starts with its default; what another version has written is skipped."""
    file.parent.mkdir()
    file.write_text('{"volume": 30, "muted": "yes", "usage": {"day": "2026-11-27", "day_s": 5}, "new": {}}')
    assert StateFile(file).kept == Kept(30, False, Usage("2026-11-27", 5))
    assert "muted" in caplog.text


def test_a_medium_that_cannot_be_written_is_said_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """State lives in memory then; when the medium works again, it is written."""
    file.parent.write_text("a file where the directory should be")
    state = StateFile(file, spacing_s=0.0)
    for volume in (1, 2, 3):
        state.change(volume=volume)
        closed(state)
    assert state.kept.volume == 3
    assert not state.writable
    assert caplog.text.count("state.unwritable") == 1
    file.parent.unlink()
    state.change(volume=4)
    closed(state)
    assert state.writable
    assert StateFile(file).kept.volume == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_card_leaves_the_old_state(tmp_path: Path) -> None:
    """Where there is no room for the new state, the old file stays whole."""
    file = tmp_path / "state.json"
    file.write_text("old")
    (tmp_path / "state.json.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, "new")
    assert file.read_text() == "old"


def test_without_a_file_everything_stays_in_memory() -> None:
    """Nothing is written and nothing is said."""
    state = StateFile(None)
    state.change(volume=3)
    closed(state)
    assert state.kept.volume == 3
    assert state.writes == 0


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "HOME": "/h"}, "/var/lib/a/state.json"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/device-agent/state.json"),
        ({"HOME": "/h"}, "/h/.local/state/device-agent/state.json"),
        ({}, None),
    ],
)
def test_the_usual_places(environ: dict[str, str], path: str | None) -> None:
    """systemd's directory first, then the user's."""
    assert standard_path(environ) == (Path(path) if path else None)


def test_the_name_is_new_and_the_content_whole_at_every_moment(tmp_path: Path) -> None:
    """A reader that looks while it is being written sees the old or the new text, never a part."""
    file = tmp_path / "state.json"
    texts = {str(n) * 5000 for n in range(4)}
    write_atomically(file, "0" * 5000)
    seen, ended = set(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(file.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(10):
        write_atomically(file, str(n % 4) * 5000)
    ended.set()
    reader.join()
    assert seen <= texts
    assert list(tmp_path.iterdir()) == [file]
