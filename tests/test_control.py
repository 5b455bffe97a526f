"""The control socket: real connections to the real thread, with a device that only remembers what it was told."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from device_agent.__main__ import main
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.reload import Change, Reload, change
from device_agent.config.schema import Settings
from device_agent.control import LINE_BYTES
from device_agent.control.client import Client, find, socket_path
from device_agent.control.requests import TEXT_CHARACTERS, WISHES, BadRequest, parse
from device_agent.control.server import BACKLOG_BYTES, CLIENTS, REQUESTS_PER_S, Control, Facts
from device_agent.core import events as e
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link, Turn
from device_agent.errors import PermissionDenied, ServiceError, UsageError
from device_agent.protocol import messages as m
from device_agent.runtime.deadline import Deadline


class Desk:
    """A running control thread; `told` is what it passed on."""

    def __init__(self, path: Path, captions: bool = False, reload: Reload | None = None) -> None:
        self.path = path
        self.told: list[e.Event] = []
        self.failures: list[BaseException] = []
        self.snapshot = Snapshot()
        facts = Facts(self.told.append, lambda: self.snapshot, self.status, captions, reload)
        self.control = Control(path, facts, lambda _, error: self.failures.append(error))

    def status(self) -> dict[str, Any]:
        seen = self.snapshot
        return asdict(seen) | {
            "state": seen.indicator.value, "link": seen.link.value, "turn": seen.turn.value,
            "microphone_card": "USB, 48000 Hz, 1 channel", "echo": "aec, 40 dB",
            "configuration": "", "version": "1", "uptime_s": 3700, "device_id": "1d",
        }  # fmt: skip

    def happens(self, event: e.Event, now: float = 1.0, **changes: Any) -> None:
        """The dispatcher has handled an event."""
        if changes:
            self.snapshot = replace(self.snapshot, **changes)
        self.control.observe(now, event, (), self.snapshot)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks = []

    def begin(**options: Any) -> Desk:
        desk = Desk(tmp_path / "run" / "control.sock", **options)
        desks.append(desk)
        desk.control.start()
        deadline = Deadline(5.0)
        while not (desk.path.exists() and _listens(desk.path)):
            assert not deadline.passed
        return desk

    yield begin
    for desk in desks:
        desk.control.request_stop()
        assert desk.control.join(Deadline(5.0))
        assert desk.failures == []


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def raw(desk: Desk, data: bytes) -> bytes:
    """What comes back until the server closes or says a line."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(desk.path))
        connection.sendall(data)
        return connection.recv(65536)


# ------------------------------------------------------------------------------------------- lines
@pytest.mark.parametrize(
    ("line", "event"),
    (
        ('{"do":"talk"}', e.Remote("talk")),
        ('{"do":"say","text":" Hello "}', e.Remote("say:Hello")),
        ('{"do":"context","text":"It rains."}', e.Remote("context:It rains.")),
        ('{"do":"mute"}', e.Mute(None)),
        ('{"do":"mute","muted":true}', e.Mute(True)),
        ('{"do":"volume","level":0}', e.Volume(level=0)),
        ('{"do":"volume","change":-10}', e.Volume(change=-10)),
        ('{"do":"status"}', None),
    ),
)
def test_a_line_is_a_wish(line: str, event: e.Event | None) -> None:
    """One JSON object, one thing to do."""
    assert parse(line.encode())[1] == event


@pytest.mark.parametrize(
    ("line", "reason"),
    (
        (b"talk", "not a line of JSON"),
        (b"[" * 3000, "not a line of JSON"),
        (b"\xff\xfe", "not a line of JSON"),
        (b"[1]", 'not an object with "do"'),
        (b'{"do":5}', 'not an object with "do"'),
        (b'{"do":"dance"}', "unknown wish 'dance'; there are: status, subscribe, reload, talk"),
        (b'{"do":"talk","loud":1}', "unknown field 'loud'"),
        (b'{"do":"say"}', 'needs a "text"'),
        (b'{"do":"say","text":"  "}', 'needs a "text"'),
        (b'{"do":"say","text":"' + b"x" * 1001 + b'"}', "longer than 1000 characters"),
        (b'{"do":"volume"}', 'needs a "level" or a "change"'),
        (b'{"do":"volume","level":101}', "from 0 to 100"),
        (b'{"do":"volume","level":true}', "from 0 to 100"),
        (b'{"do":"mute","muted":"yes"}', "true, false or absent"),
    ),
)
def test_a_bad_line_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    """It names what is wrong, and nothing is passed on."""
    with pytest.raises(BadRequest, match=re.escape(reason)):
        parse(line)


def test_the_document_names_every_wish() -> None:
    """docs/control.md is complete."""
    text = (Path(__file__).parent.parent / "docs" / "control.md").read_text()
    assert all(f'"do": "{wish}"' in text for wish in (*WISHES, "status", "subscribe"))


# ------------------------------------------------------------------------------------------- the server
def test_orders_reach_the_device_and_are_answered(start: Callable[..., Desk]) -> None:
    """Each line gets one answer, in order."""
    desk = start()
    with Client(desk.path) as client:
        assert client.ask("volume", level=30) == {}
        assert client.ask("status")["volume"] == 100
    assert desk.told == [e.Volume(level=30)]


def test_a_bad_line_does_not_end_the_connection(start: Callable[..., Desk]) -> None:
    """Its sender is told why, and may go on."""
    desk = start()
    with Client(desk.path) as client:
        with pytest.raises(UsageError, match="unknown wish"):
            client.ask("dance")
        client.ask("stop")
    assert desk.told == [e.Remote("stop")]


def test_context_needs_a_conversation(start: Callable[..., Desk]) -> None:
    """Without one there is nobody to tell, and the caller learns that."""
    desk = start()
    with Client(desk.path) as client:
        with pytest.raises(UsageError, match="no conversation is open"):
            client.ask("context", text="x")
        desk.snapshot = Snapshot(link=Link.READY)
        client.ask("context", text="x")
    assert desk.told == [e.Remote("context:x")]


def test_a_line_without_an_end_is_cut_off(start: Callable[..., Desk]) -> None:
    """A megabyte costs its sender the connection and the device 4 kB; others are served."""
    desk = start()
    with pytest.raises(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(desk.path))
        for _ in range(256):
            connection.sendall(b"x" * LINE_BYTES)
        assert connection.recv(1) == b""
        raise ConnectionError
    assert b'"ok":true' in raw(desk, b'{"do":"talk"}\n')


def test_subscribers_hear_states_levels_and_captions(start: Callable[..., Desk]) -> None:
    """Levels ten times a second at most; what is said only if that was allowed."""
    desk = start(captions=True)
    with Client(desk.path) as client:
        news = client.news()
        assert next(news)["state"] == "idle"
        desk.happens(e.Frame(0, False, -40.04, 1.0), now=1.0)
        desk.happens(e.Frame(1, False, -41.0, 1.02), now=1.02)
        desk.happens(e.ServerSaid(1, m.UserTranscript("Hello", None)), now=1.03)
        desk.happens(e.ServerSaid(1, m.AgentResponse("Good day", None)), now=1.04)
        desk.happens(e.Tick(), now=1.05, muted=True)
        assert next(news) == {"event": "level", "microphone": -40.0}
        assert [next(news)["text"] for _ in range(2)] == ["Hello", "Good day"]
        assert next(news)["state"] == "muted"


def test_what_is_no_unicode_is_told_nevertheless(start: Callable[..., Desk]) -> None:
    """A status may name a file whose name nobody can write; the dispatcher, which tells it, must not die of that."""
    desk = start()
    with Client(desk.path) as client:
        news = client.news()
        next(news)
        desk.happens(e.Tick(), fault="\udcff.toml:2: bad")
        assert next(news)["fault"] == "?.toml:2: bad"


def test_a_caption_is_told_though_its_message_changed_the_state(start: Callable[..., Desk]) -> None:
    """One fact may do both: what the user has said ends a turn."""
    desk = start(captions=True)
    with Client(desk.path) as client:
        news = client.news()
        next(news)
        desk.happens(e.ServerSaid(1, m.UserTranscript("Hello", None)), turn=Turn.THINKING)
        desk.happens(e.Tick(), volume=50)
        assert [next(news)["event"] for _ in range(2)] == ["state", "caption"]


def test_who_subscribes_late_is_told_each_change_from_then_on(start: Callable[..., Desk]) -> None:
    """Also the one back to what a subscriber of before was told last."""
    desk = start()
    with Client(desk.path) as first:
        news = first.news()
        next(news)
        desk.happens(e.Tick(), volume=50)
        assert next(news)["volume"] == 50
    deadline = Deadline(5.0)
    while desk.control._subscribers:
        assert not deadline.passed
    desk.happens(e.Tick(), volume=60)
    with Client(desk.path) as second:
        news = second.news()
        assert next(news)["volume"] == 60
        for volume in (50, 70, 80):
            desk.happens(e.Tick(), volume=volume)
        assert [next(news)["volume"] for _ in range(2)] == [50, 70]


def test_without_leave_nobody_hears_what_is_said(start: Callable[..., Desk]) -> None:
    """Captions are off unless configured."""
    desk = start()
    with Client(desk.path) as client:
        news = client.news()
        next(news)
        desk.happens(e.ServerSaid(1, m.UserTranscript("secret", None)))
        desk.happens(e.Tick(), muted=True)
        assert next(news)["event"] == "state"


def test_a_subscriber_that_never_reads_is_let_go(start: Callable[..., Desk]) -> None:
    """And nobody waits for it meanwhile."""
    desk = start()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(str(desk.path))
        deaf.sendall(b'{"do":"subscribe"}\n')
        with Client(desk.path) as client:
            news = client.news()
            next(news)
            deadline = Deadline(20.0)
            sent = 0
            while desk.control._subscribers == 2 and not deadline.passed:
                sent += 1
                desk.happens(e.Tick(), volume=sent % 100)
                assert next(news)["volume"] == sent % 100
            assert desk.control._subscribers == 1
    assert sent * len(json.dumps(desk.status())) > BACKLOG_BYTES


def test_the_number_of_clients_is_bounded(start: Callable[..., Desk]) -> None:
    """One too many is turned away at once; a place that becomes free is given again."""
    desk = start()
    clients = [Client(desk.path) for _ in range(CLIENTS)]
    for client in clients:
        client.ask("status")
    with pytest.raises(ServiceError), Client(desk.path) as late:
        late.ask("status")
    clients.pop().close()
    deadline = Deadline(5.0)
    while True:
        try:
            with Client(desk.path) as again:
                again.ask("status")
            break
        except ServiceError:
            assert not deadline.passed
    for client in clients:
        client.close()


def test_a_flood_is_refused_line_by_line(start: Callable[..., Desk]) -> None:
    """More than 50 requests in a second are answered, not obeyed."""
    desk = start()
    with Client(desk.path) as client, pytest.raises(UsageError, match="requests in a second"):
        for _ in range(3 * REQUESTS_PER_S):
            client.ask("talk")
    assert len(desk.told) <= 3 * REQUESTS_PER_S


def test_the_socket_is_for_its_group(start: Callable[..., Desk]) -> None:
    """Mode 0660, and gone with the device."""
    desk = start()
    assert desk.path.stat().st_mode & 0o777 == 0o660
    desk.control.request_stop()
    assert desk.control.join(Deadline(5.0))
    assert not desk.path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_foreign_user_is_turned_away(start: Callable[..., Desk]) -> None:
    """Even where the file's mode would let him in."""
    desk = start()
    desk.path.chmod(0o666)
    for parent in (desk.path.parent, *desk.path.parent.parents[:3]):
        parent.chmod(0o755)
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            answered = raw(desk, b'{"do":"talk"}\n')
        except OSError:
            answered = b""
        os._exit(1 if answered else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert desk.told == []


def test_a_second_device_leaves_the_first_its_socket(start: Callable[..., Desk]) -> None:
    """It runs without one; a socket that nobody listens at is taken over."""
    desk = start()
    second = Desk(desk.path)
    second.control.start()
    with Client(desk.path) as client:
        client.ask("talk")
    second.control.request_stop()
    assert second.control.join(Deadline(5.0))
    assert desk.told == [e.Remote("talk")]
    assert second.failures == [] and desk.path.exists()


# ------------------------------------------------------------------------------------------- commands
def test_who_takes_the_place_of_a_thread_that_hangs_gets_its_socket(start: Callable[..., Desk]) -> None:
    """The old one lets nobody in; when it comes back to its senses it leaves the new socket alone."""
    free = threading.Event()
    stuck = start()
    stuck.control._spread = free.wait  # type: ignore[assignment]
    stuck.control.unblock()
    stuck.control.abandon()
    deadline = Deadline(5.0)
    while _listens(stuck.path):
        assert not deadline.passed
    new = start()
    free.set()
    stuck.control.request_stop()
    assert stuck.control.join(Deadline(5.0))
    assert _listens(new.path)


def test_commands(start: Callable[..., Desk], capsys: pytest.CaptureFixture[str]) -> None:
    """Each command is one wish; `status` says what holds, and by its exit code whether a person must act."""
    desk = start()
    place = ("--socket", str(desk.path))
    for words in (("talk",), ("talk", "--stop"), ("talk", "--end"), ("say", "Good", "day"), ("mute", "on"), ("mute",)):
        assert main([words[0], *place, *words[1:]]) == 0
    for volume in ("30", "+5", "-5"):
        assert main(["volume", *place, volume]) == 0
    assert desk.told == [
        e.Remote("talk"), e.Remote("stop"), e.Remote("end"), e.Remote("say:Good day"), e.Mute(True), e.Mute(None),
        e.Volume(level=30), e.Volume(change=5), e.Volume(change=-5),
    ]  # fmt: skip
    assert main(["volume", *place]) == 0
    assert capsys.readouterr().out == "100\n"
    assert main(["status", *place]) == 0
    assert "echo         aec, 40 dB" in capsys.readouterr().out
    desk.snapshot = Snapshot(loudspeaker="no loudspeaker: plug one in")
    assert main(["status", *place]) == 1
    assert "WRONG        loudspeaker: no loudspeaker: plug one in" in capsys.readouterr().out
    assert main(["status", *place, "--json"]) == 1
    desk.snapshot = Snapshot(microphone_check="microphone hears nothing at all")
    assert main(["status", *place]) == 1
    assert "WRONG        microphone: microphone hears nothing at all" in capsys.readouterr().out
    desk.snapshot = Snapshot(loudspeaker="no loudspeaker: plug one in")
    assert main(["status", *place, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "no-loudspeaker"


def test_the_longest_text_arrives_in_any_script(start: Callable[..., Desk], capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand characters, whatever they need on the wire; a longer one is refused with its reason."""
    desk = start()
    place = ("--socket", str(desk.path))
    for letter in "é漢😀":
        assert main(["say", *place, letter * TEXT_CHARACTERS]) == 0
    assert desk.told == [e.Remote(f"say:{letter * TEXT_CHARACTERS}") for letter in "é漢😀"]
    assert main(["say", *place, "x" * 2 * LINE_BYTES]) == 64
    assert "longer than 4096 bytes" in capsys.readouterr().err


def test_without_a_device_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the remedy."""
    assert main(["status", "--socket", str(tmp_path / "none.sock")]) == 69
    assert "systemctl status device-agent" in capsys.readouterr().err


def test_where_the_socket_lies(tmp_path: Path) -> None:
    """In the service's runtime directory, else the user's; a command finds its own user's device first."""
    assert socket_path({"RUNTIME_DIRECTORY": "/run/device-agent"}) == Path("/run/device-agent/control.sock")
    own = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert find(own) == Path("/run/device-agent/control.sock")
    place = socket_path(own)
    assert place is not None
    place.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as device:
        device.bind(str(place))
        device.listen()
        assert find(own) == place
    assert place.exists() and find(own) == Path("/run/device-agent/control.sock")  # left behind by one that was killed
    assert socket_path({}) is None


def test_the_example_for_node_exporter(start: Callable[..., Desk], tmp_path: Path) -> None:
    """It prints metrics of a running device, and `device_agent_up 0` without one."""
    desk = start()
    script = Path(__file__).parent.parent / "examples" / "monitoring" / "node_exporter.py"
    for place, expected in ((desk.path.parent, "device_agent_up 1\ndevice_agent_volume 100"), (tmp_path, "_up 0\n")):
        environ = {**os.environ, "RUNTIME_DIRECTORY": str(place)}
        done = subprocess.run((sys.executable, script), env=environ, capture_output=True, text=True, check=True)
        assert expected in done.stdout


def test_a_reload_says_what_holds_now_and_what_waits(
    start: Callable[..., Desk], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log and own sounds change at once, everything else is named; a mistake is named and changes nothing."""
    file = tmp_path / "config.toml"
    held = [Settings()]

    def reload() -> Change:
        done = change(held[0], load(Paths(tmp_path, tmp_path, only=file), {}).settings)
        held[0] = done.settings
        return done

    desk = start(reload=reload)
    file.write_text("[log]\nlevel = 'debug'\n[sounds]\nearcons = false\n[audio]\nbarge_in = 'open'\n")
    assert main(["config", "reload", "--socket", str(desk.path)]) == 0
    said = capsys.readouterr().out
    assert "holds now: sounds.earcons, log.level\n" in said and "restart device-agent): audio.barge_in\n" in said
    assert (held[0].log.level, held[0].sounds.earcons, held[0].audio.barge_in) == ("debug", False, "gated")
    file.write_text("[log]\nlevel = 'loud'\n")
    with Client(desk.path) as client, pytest.raises(UsageError, match=r"config\.toml:2: log\.level"):
        client.ask("reload")
    assert held[0].log.level == "debug"


def test_a_file_that_cannot_be_read_is_an_answer(start: Callable[..., Desk]) -> None:
    """A reload that fails for another reason than a mistake in the text ends nothing."""

    def reload() -> Change:
        raise PermissionDenied("/etc/device-agent/config.toml cannot be read")

    with Client(start(reload=reload).path) as client:
        with pytest.raises(UsageError, match=r"config\.toml cannot be read"):
            client.ask("reload")
        assert client.ask("status")


def test_a_device_without_files_says_so(start: Callable[..., Desk]) -> None:
    """One that was built by a test, or by another program."""
    with Client(start().path) as client, pytest.raises(UsageError, match="cannot read its configuration again"):
        client.ask("reload")


def test_clients_that_have_gone_cost_nothing(start: Callable[..., Desk]) -> None:
    """The thread rests again: it looks about once a second, as before the first of them."""
    desk = start()
    for _ in range(5):
        with Client(desk.path) as client:
            client.ask("status")
    rest = threading.Event()
    rest.wait(0.1)
    before = desk.control.heart.turns
    rest.wait(0.5)
    assert desk.control.heart.turns - before <= 2
