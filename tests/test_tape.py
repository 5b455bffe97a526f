"""The tape of the echo call: what was handed to the sound card, in its own time."""

from __future__ import annotations

import array
from pathlib import Path

from device_agent.audio.tape import Tape, read_tape


def test_samples_come_back_with_their_time(tmp_path: Path) -> None:
    """The first sample's time and rate are kept, and pieces follow each other."""
    tape = Tape(tmp_path / "tape")
    tape.write(array.array("h", [1, 2]).tobytes(), 1000, 5.0)
    tape.write(array.array("h", [3]).tobytes(), 1000, 5.002)
    tape.close()
    assert read_tape(tmp_path / "tape") == (5.0, 1000, array.array("h", [1, 2, 3]))


def test_a_closed_stream_leaves_silence(tmp_path: Path) -> None:
    """A pause of the loudspeaker is as long on the tape as it was; jitter of the clock is not."""
    tape = Tape(tmp_path / "tape")
    tape.write(bytes(20), 1000, 5.0)
    tape.write(bytes(20), 1000, 5.05)
    tape.write(array.array("h", [7]).tobytes(), 1000, 6.0)
    tape.close()
    samples = read_tape(tmp_path / "tape")[2]
    assert (len(samples), samples[-1]) == (1001, 7)


def test_nothing_played_is_an_empty_tape(tmp_path: Path) -> None:
    """A call without a sound, or without a file, reads as nothing."""
    Tape(tmp_path / "tape").close()
    assert read_tape(tmp_path / "tape") == read_tape(tmp_path / "none") == (0.0, 0, array.array("h"))
