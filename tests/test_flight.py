"""The flight recorder: the last minutes replay to the same transitions, without audio and without words."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from scenario import configured

from device_agent.bench import replay
from device_agent.config.buttons import SIMPLE
from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind
from device_agent.core.recollection import at_rest, recollect, resume
from device_agent.core.replay import line
from device_agent.core.tables import Link
from device_agent.errors import UsageError
from device_agent.flight import FILES, FlightRecorder, directory, without_words
from device_agent.protocol import messages as m

CANARY = "the-word-that-nobody-may-read"
SETTINGS = configured([("activation.modes", "always-on"), ("audio.echo", "off")])


class Flight:
    """A core under a recorder, told facts at times."""

    def __init__(self, place: Path | None, settings: Settings = SETTINGS) -> None:
        self.recorder = FlightRecorder(settings, lambda: 0.5, place)
        self.core = self.recorder.conversation()
        self.now = 0.0

    def tell(self, event: e.Event, after: float = 0.01) -> None:
        self.now += after
        orders = self.core.handle(event, self.now)
        self.recorder(self.now, event, orders, self.core.snapshot)

    def frames(self, count: int, speech: bool = False) -> None:
        for n in range(count):
            self.tell(e.Frame(n, speech, -20.0 if speech else -60.0, self.now), 0.02)

    def converse(self) -> int:
        """A conversation that the server ends; its number."""
        if self.core.snapshot.link is Link.DOWN:
            self.tell(e.Start())
        conn = self.core.state.conn
        self.tell(e.LinkOpened(conn))
        self.tell(e.ServerSaid(conn, m.Metadata("conv_1", "pcm_16000", "pcm_16000")))
        self.frames(20, speech=True)
        self.tell(e.ServerSaid(conn, m.UserTranscript(CANARY, 1)))
        self.tell(e.ServerSaid(conn, m.AgentResponse(CANARY, 1)))
        self.tell(e.AgentAudio(conn, 1, 1, 200.0, True))
        self.tell(e.PlaybackStarted(1, self.now))
        self.tell(e.ToolDone(conn, "call_1", CANARY))
        self.tell(e.PlaybackIdle(self.now), 0.2)
        return conn

    def dump(self) -> Path:
        file = self.recorder.dump("a test", asked=True)
        assert file is not None
        return file


def replayed(file: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    return replay.run(file, True, said.append), said


def test_a_dump_replays_to_the_same_transitions(tmp_path: Path) -> None:
    """Conversation, loss, retry and the next conversation come out of the file as they happened."""
    flight = Flight(tmp_path)
    conn = flight.converse()
    flight.tell(e.LinkEnded(conn, End(Kind.NETWORK, reason="reset")))
    flight.tell(e.Tick(), 6.0)
    flight.converse()
    code, said = replayed(flight.dump())
    assert code == 0, said
    assert any("link backoff" in text for text in said)
    assert any("turn speaking" in text for text in said)
    assert said[-1].endswith("all the same")


def test_a_core_that_decides_otherwise_is_found_out(tmp_path: Path) -> None:
    """Sabotage: one fact left out of the file, and the replay differs."""
    flight = Flight(tmp_path)
    flight.converse()
    file = flight.dump()
    lines = file.read_text().splitlines()
    file.write_text("\n".join(text for text in lines if '"LinkOpened"' not in text))
    code, said = replayed(file)
    assert code == 1
    assert any("on the device: link ready" in text for text in said)


def test_a_core_that_waits_for_something_is_not_at_rest() -> None:
    """Nobody talks and nothing is connected, but a timer runs: a log cannot begin here."""
    core = Conversation(configured([("activation.modes", "presence")]), lambda: 0.5)
    assert at_rest(core)
    core.handle(e.Presence(False), 1.0)
    assert not at_rest(core)


def test_no_words_leave_the_memory(tmp_path: Path) -> None:
    """Neither transcripts nor tool results stand in a dump, unless log.transcripts is set."""
    flight = Flight(tmp_path)
    flight.converse()
    assert CANARY not in flight.dump().read_text()
    open_one = Flight(tmp_path, configured([("activation.modes", "always-on"), ("log.transcripts", "true")]))
    open_one.converse()
    assert CANARY in open_one.dump().read_text()
    open_one.recorder.transcripts = False
    assert CANARY not in open_one.dump().read_text()


def test_what_was_written_to_the_agent_is_left_out_too(tmp_path: Path) -> None:
    """`device-agent say` and `--context` carry words of a person: only their length stays, and it replays."""
    for name in ("say", "context"):
        flight = Flight(tmp_path / name)
        (tmp_path / name).mkdir()
        flight.converse()
        flight.tell(e.Remote(f"{name}:{CANARY}"))
        file = flight.dump()
        assert CANARY not in file.read_text() and f"{name}:{'x' * len(CANARY)}" in file.read_text()
        assert replayed(file)[0] == 0
    assert without_words(e.Remote("volume_up")) == e.Remote("volume_up")


def test_every_message_can_be_told_without_words() -> None:
    """Tables and lists are emptied, what steers the core stays."""
    call = e.ServerSaid(1, m.ClientToolCall("lamp", "call_1", {"room": CANARY}))
    assert without_words(call) == e.ServerSaid(1, m.ClientToolCall("lamp", "call_1", {}))
    odd = e.ServerSaid(1, m.McpConnectionStatus(({"a": 1},)))
    assert without_words(odd) == e.ServerSaid(1, m.McpConnectionStatus(()))


def test_the_past_is_forgotten_at_rest_and_replays_from_there(tmp_path: Path) -> None:
    """After an hour of conversations the file begins a few minutes ago, and still replays to the same."""
    settings = configured([("activation.modes", "toggle"), ("audio.echo", "off"), ("session.idle_close_s", "10")])
    flight = Flight(tmp_path, settings)
    for _ in range(40):
        flight.tell(e.Edge(SIMPLE, True, flight.now + 30.0), 30.0)
        flight.tell(e.Edge(SIMPLE, False, flight.now + 0.1), 0.1)
        if flight.core.snapshot.link is Link.OPENING:
            conn = flight.converse()
            flight.tell(e.LinkEnded(conn, End(Kind.CLOSE, 1000)))
    flight.tell(e.Tick(), 100.0)
    file = flight.dump()
    header, first, *_ = map(json.loads, file.read_text().splitlines())
    assert header["past"]["conn"] > 10
    assert flight.now - first["at"] < 400
    assert replayed(file)[0] == 0


def test_a_value_that_is_no_json_is_written_in_words() -> None:
    """A dump is for a bad day: no value keeps it from being written."""
    assert json.loads(line(0.0, [], e.Tick(), place=Path("/x")))["place"] == "/x"


def test_a_long_conversation_takes_little_memory(tmp_path: Path) -> None:
    """Old frames of silence are left out; the rest of a long conversation is kept, and it replays."""
    flight = Flight(tmp_path, configured([("activation.modes", "always-on"), ("session.idle_close_s", "0")]))
    flight.converse()
    tracemalloc.start()
    for _ in range(10):
        flight.frames(1000)
        flight.frames(5, speech=True)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4e6
    code, said = replayed(flight.dump())
    assert (code, said[-1].endswith("all the same")) == (0, True), said[-3:]


def test_where_the_beginning_is_lost_the_replay_says_so(tmp_path: Path) -> None:
    """So much was said that the oldest facts had to go."""
    flight = Flight(tmp_path, configured([("activation.modes", "always-on"), ("session.idle_close_s", "0")]))
    flight.converse()
    flight.frames(13_000, speech=True)
    code, said = replayed(flight.dump())
    assert code == 0
    assert "given up" in said[1]


def test_dumps_are_few_and_far_between(tmp_path: Path) -> None:
    """A fault that repeats itself is written once in ten seconds, and five files are kept."""
    flight = Flight(tmp_path)
    assert flight.recorder.dump("first") is not None
    assert flight.recorder.dump("again") is None
    for n in range(FILES + 3):
        (tmp_path / f"flight-2000010{n}T000000-000.jsonl").touch()
    flight.dump()
    assert len(list(tmp_path.glob("flight-*"))) == FILES
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.glob("flight-2026*"))


def test_a_clock_that_was_set_back_costs_the_oldest_dump_not_the_new_one(tmp_path: Path) -> None:
    """Names tell the wall's time: those of before may lie in the future."""
    flight = Flight(tmp_path)
    for n in range(FILES):
        (tmp_path / f"flight-2099010{n}T000000-000.jsonl").touch()
    assert flight.dump().exists()
    assert len(list(tmp_path.glob("flight-*"))) == FILES


def test_a_full_or_missing_place_is_no_second_fault(tmp_path: Path) -> None:
    """Without a directory, or where it cannot be written, there is no dump and no exception."""
    assert Flight(None).recorder.dump("x") is None
    (tmp_path / "file").touch()
    assert Flight(tmp_path / "file").recorder.dump("x") is None


def test_dumps_go_to_memory() -> None:
    """systemd's runtime directory, then the user's; else nowhere."""
    assert directory({"RUNTIME_DIRECTORY": "/run/device-agent:/run/b"}) == Path("/run/device-agent")
    assert directory({"XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/run/user/1/device-agent")
    assert directory({}) is None


@pytest.mark.parametrize("text", ["{}", "no json", '{"version": 1, "settings": {"audio.volume": 7000}}', ""])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """What is no dump is named, with the reason."""
    file = tmp_path / "other"
    file.write_text(text)
    with pytest.raises(UsageError, match="other"):
        replay.run(file, False)
    with pytest.raises(UsageError, match="read"):
        replay.run(tmp_path / "nothing", False)


def test_what_is_no_past_is_refused() -> None:
    """A recollection lacks its number, or names what the device does not have."""
    core = Conversation(Settings(), lambda: 0.5)
    assert at_rest(core)
    for past in ({}, recollect(core) | {"seen": {"colour": 1}}, recollect(core) | {"gate": []}):
        with pytest.raises(ValueError, match="beginning"):
            resume(core, past)
    resume(core, recollect(core) | {"conn": 7})
    assert core.state.conn == 7
