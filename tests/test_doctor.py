"""The doctor on a machine made of files: one fault at a time is planted, and named by its id; then two at a time."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from test_simulator_server import Bench

from device_agent.__main__ import main
from device_agent.bench.authority import Authority
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.core.indicator import Snapshot
from device_agent.doctor.check import Check, Finding, Result, Status, examine, failed, ok
from device_agent.doctor.host import Case, Host, Output, Recording, installed
from device_agent.doctor.report import as_json, bundle, clean, lines
from device_agent.doctor.sandbox import command, properties
from device_agent.doctor.table import CHECKS
from device_agent.errors import AudioError, PermissionDenied, ServiceError
from device_agent.observers import LogObserver
from device_agent.protocol import messages as m
from device_agent.simulator.faults import Refusal
from device_agent.system.log import QueueingHandler, formatter

ROOT = Path(__file__).parent.parent
PLANT = ROOT / "tests" / "plant_faults.py"
KEY = "sk_0123456789abcdefCANARY"


@dataclass
class World:
    """The machine that `plant_faults.py` has made, as the doctor sees it."""

    root: Path
    config: dict[str, str]
    unit: dict[str, str]
    user_unit: dict[str, str]
    missing: list[str]
    versions: dict[str, str]
    environ: dict[str, str]
    python: tuple[int, int]
    now: float
    free: int
    closed: list[str]
    microphone: str
    loudspeaker: str
    speexdsp: bool
    names: Mapping[str, str]
    status: Mapping[str, Any] | None
    ran: list[Sequence[str]] = field(default_factory=list)

    @classmethod
    def planted(cls, root: Path, url: str, *faults: str) -> World:
        """Without the program's modules in reach."""
        subprocess.run((sys.executable, "-I", PLANT, root, url, *faults), check=True, cwd="/")
        lines = (root / "etc/device-agent/config.toml").read_text().splitlines()
        config = {key: text for key, _, text in (line.partition(" = ") for line in lines)}
        return cls(root, config, **json.loads((root / "world.json").read_text()))

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def elsewhere(self, port: int) -> None:
        """The service is another machine, whose name leads to this one."""
        self.config["server.url"], self.names = f'"wss://agents.test:{port}"', {"agents.test": "127.0.0.1"}

    def run(self, words: Sequence[str]) -> Output:
        self.ran.append(words)
        if words[:2] == ("systemctl", "show"):
            return Output(0, "\n".join(f"{key}={value}" for key, value in self.unit.items()))
        if words[:3] == ("systemctl", "--user", "show"):
            there = self.user_unit or {"LoadState": "not-found"}
            return Output(0, "\n".join(f"{key}={value}" for key, value in there.items()))
        if words[:2] == ("timedatectl", "show"):
            return Output(0, "no")
        return Output(127, "")

    def resolve(self, host: str, port: int) -> list[tuple[int, str, int]]:
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return [(socket.AF_INET, self.names[host], port)]

    def record(self, _: Settings) -> Recording:
        if self.microphone:
            raise AudioError(self.microphone)
        return Recording("USB PnP Audio Device", 16_000, (self.root / "second.pcm").read_bytes())

    def loud(self, _: Settings) -> str:
        if self.loudspeaker:
            raise AudioError(self.loudspeaker)
        return "USB PnP Audio Device at 48000 Hz"

    def ask(self, _: Mapping[str, str]) -> Mapping[str, Any]:
        if self.status is None:
            raise ServiceError("no device listens")
        return self.status

    def case(self) -> Case:
        etc = self.root / "etc/device-agent"
        self.write("etc/device-agent/config.toml", "\n".join(f"{key} = {text}" for key, text in self.config.items()))
        return Case(
            Host(
                root=self.root,
                environ=self.environ,
                paths=Paths(etc, etc),
                run=self.run,
                installed=lambda name: "" if name in self.missing else self.versions.get(name, "1.0"),
                speexdsp=lambda: self.speexdsp,
                python=tuple(self.python),  # type: ignore[arg-type]
                now=lambda: self.now,
                free_bytes=lambda _: self.free,
                may_use=lambda path: not path.name.startswith(tuple(self.closed)),
                resolve=self.resolve,
                record_sound=self.record,
                open_loudspeaker=self.loud,
                device_status=self.ask,
            )
        )

    def results(self) -> list[Result]:
        return list(examine(CHECKS, self.case()))

    def complaints(self) -> dict[str, Finding]:
        """What is wrong by its id, without what is skipped."""
        wrong = (Status.WARNING, Status.FAILED)
        return {result.id: result.finding for result in self.results() if result.status in wrong}


NAMED = {
    "an old Python": "system.python",
    "PyAudio missing": "system.libraries",
    "websocket-client of Debian 12": "system.libraries",
    "speexdsp missing": "system.resampler",
    "a misspelt key": "config.valid",
    "no TOML at all": "config.valid",
    "a wake word's engine missing": "config.extras",
    "a second opinion's engine missing": "config.extras",
    "a key that all may read": "config.secrets",
    "no agent": "config.access",
    "the year 1970": "clock.date",
    "no time service": "clock.synchronised",
    "cable pulled": "network.link",
    "no address given": "network.route",
    "no such name": "network.name",
    "nobody listens": "network.tcp",
    "the card of the board absent": "board.card",
    "no card": "audio.cards",
    "not in the group audio": "audio.rights",
    "another card configured": "audio.configured",
    "a card held by arecord": "audio.free",
    "a microphone that does not open": "audio.microphone",
    "a muted microphone": "audio.level",
    "a clipping microphone": "audio.level",
    "mains hum": "audio.level",
    "a loudspeaker that does not open": "audio.loudspeaker",
    "a canceller that is not installed": "audio.echo",
    "a canceller that achieves too little": "audio.echo",
    "no pins": "gpio.chip",
    "not in the group gpio": "gpio.rights",
    "SPI switched off": "gpio.spi",
    "not in the group spi": "gpio.spi",
    "no GPIO library": "gpio.library",
    "gpiozero of Debian 12 with lgpio": "gpio.library",
    "undervoltage": "power.voltage",
    "heat": "power.temperature",
    "a full disk": "disk.space",
    "a read-only root": "disk.writable",
    "little memory": "memory.available",
    "a service that is not enabled": "service.enabled",
    "a user's service without linger": "service.linger",
    "a service that has failed": "service.running",
    "a service without watchdog": "service.watchdog",
    "a service that dies again and again": "service.restarts",
    "a device that complains": "service.device",
    "a proxy": "network.proxy",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.fixture
def world(tmp_path: Path, service: Bench) -> World:
    return World.planted(tmp_path / "root", f"ws://{service.host}")


def test_a_healthy_machine_gets_no_complaint(world: World) -> None:
    """Every check is ok but that of a device, which does not run, and of what only a key may see.

    And a conversation was really opened.
    """
    results = world.results()
    assert {r.id: r.status for r in results if r.status is not Status.OK} == {
        "agent.events": Status.SKIPPED, "service.device": Status.SKIPPED
    }  # fmt: skip
    assert "opened" in {r.id: r for r in results}["agent.conversation"].finding.evidence


def test_the_planting_script_knows_the_same_faults() -> None:
    """30 and more."""
    listed = subprocess.run((sys.executable, "-I", PLANT, "--list"), check=True, capture_output=True, text=True).stdout
    assert sorted(listed.splitlines()) == sorted(NAMED) and len(NAMED) >= 30


@pytest.mark.parametrize("fault", NAMED)
def test_a_planted_fault_is_named(tmp_path: Path, service: Bench, fault: str) -> None:
    """Its check complains with a remedy, and no other does."""
    id, world = NAMED[fault], World.planted(tmp_path / "root", f"ws://{service.host}", fault)
    complaints = world.complaints()
    expected = {id, "network.name"} if fault == "a proxy" else {id}
    assert set(complaints) == expected
    assert complaints[id].remedy


@pytest.mark.parametrize(("one", "other"), [
    ("a misspelt key", "heat"), ("no agent", "no pins"), ("the year 1970", "a muted microphone"),
    ("cable pulled", "a card held by arecord"), ("nobody listens", "undervoltage"), ("no card", "no TOML at all"),
    ("speexdsp missing", "a full disk"), ("a key that all may read", "a service that is not enabled"),
    ("mains hum", "little memory"), ("not in the group audio", "not in the group gpio"),
    ("a read-only root", "a service that dies again and again"),
])  # fmt: skip
def test_two_faults_are_both_named(tmp_path: Path, service: Bench, one: str, other: str) -> None:
    """Neither hides the other."""
    world = World.planted(tmp_path / "root", f"ws://{service.host}", one, other)
    assert set(world.complaints()) == {NAMED[one], NAMED[other]}


def test_every_check_has_a_planted_fault() -> None:
    """But for those that need a server, which tests below plant."""
    by_server = {"network.tls", "network.http"} | {check.id for check in CHECKS if check.group == "agent"}
    assert {check.id for check in CHECKS} - by_server == set(NAMED.values())


def test_every_check_has_its_heading() -> None:
    """docs/troubleshooting.md is keyed by the ids, in their order, and has no other."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert [line[4:] for line in text.splitlines() if line.startswith("### ")] == [check.id for check in CHECKS]


def test_a_check_needs_earlier_ones_only() -> None:
    """Else it would not be skipped."""
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen
        seen.add(check.id)


def test_the_children_of_a_failed_check_say_why_they_are_skipped() -> None:
    """Down to the grandchildren, with the root of the evil."""
    checks = (
        Check("a.a", lambda _: failed("bad", "mend")),
        Check("a.b", lambda _: ok(""), ("a.a",)),
        Check("a.c", lambda _: ok(""), ("a.b",)),
        Check("a.d", lambda _: 1 / 0),  # type: ignore[arg-type, return-value]
    )
    found = list(examine(checks, Case(Host())))
    assert [result.status for result in found] == [Status.FAILED, Status.SKIPPED, Status.SKIPPED, Status.FAILED]
    assert found[2].finding.evidence == "because a.a failed"
    assert "division by zero" in found[3].finding.evidence


def test_a_bad_setting_is_named_with_file_and_line(world: World) -> None:
    """What to mend stands in the evidence."""
    world.write("etc/device-agent/conf.d/10-mine.toml", "[audio]\nvolume = 'loud'\n")
    assert "conf.d/10-mine.toml:2: audio.volume" in world.complaints()["config.valid"].evidence


@pytest.mark.parametrize(
    ("lifetime", "host", "trusted", "word"),
    [
        (("20200101000000Z", "20200201000000Z"), "agents.test", True, "expired"),
        (("20400101000000Z", "20410101000000Z"), "agents.test", True, "not yet valid"),
        (None, "other.test", True, "mismatch"),
        (None, "agents.test", False, "self-signed"),
    ],
)
def test_a_certificate_is_refused_in_words(
    world: World, tmp_path: Path, lifetime: tuple[str, str] | None, host: str, trusted: bool, word: str
) -> None:
    """Expired, from the future, another host's, nobody's."""
    authority = Authority(tmp_path)
    context = authority.server(authority.certificate("server", host, issued=trusted, lifetime=lifetime))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                taken, _ = listener.accept()
                try:
                    context.wrap_socket(taken, server_side=True).close()
                except OSError:
                    taken.close()

        threading.Thread(target=serve, daemon=True).start()
        world.elsewhere(listener.getsockname()[1])
        world.config["server.ca_file"] = f'"{authority.ca_file}"'
        complaints = world.complaints()
    assert set(complaints) == {"network.tls"}
    assert word in complaints["network.tls"].evidence


def test_a_captive_portal_is_recognised(world: World) -> None:
    """A redirect to a page for browsers."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://portal.test/login\r\nContent-Length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                taken, _ = listener.accept()
                with taken:
                    if taken.recv(4096):
                        taken.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        world.config["server.url"] = f'"ws://127.0.0.1:{listener.getsockname()[1]}"'
        complaints = world.complaints()
    assert set(complaints) == {"network.http"}
    assert "portal.test" in complaints["network.http"].evidence


@pytest.mark.parametrize(
    ("options", "id", "word"),
    [
        ({"require_key": KEY}, "agent.right", "setup"),
        ({"refuse": (Refusal(503),)}, "network.http", "wait"),
    ],
)
def test_a_service_that_refuses(world: World, options: dict[str, Any], id: str, word: str) -> None:
    """The wrong key, a service that is down."""
    world.write("etc/device-agent/api-key", "sk_wrongwrongwrong").chmod(0o600)
    with Bench(**options) as service:
        world.config["server.url"] = f'"ws://{service.host}"'
        complaints = world.complaints()
    assert set(complaints) == {id}
    assert word in complaints[id].remedy


def test_an_override_that_is_not_allowed_is_named(world: World) -> None:
    """The agent closes the conversation with its reason."""
    world.config["agent.prompt"] = '"Be brief."'
    complaints = world.complaints()
    assert set(complaints) == {"agent.conversation"}
    assert "override" in complaints["agent.conversation"].remedy


@pytest.mark.parametrize(
    ("options", "config", "found"),
    [
        ({}, {}, {}),
        ({"without": ("interruption",)}, {}, {"agent.events": "nobody can interrupt"}),
        ({}, {"agent.continue_silently": "true"}, {"agent.overrides": "agent.first_message"}),
        ({}, {"agent.languages": '{ de = { prompt = "Kurz." } }', "agent.language": '"de"'},
         {"agent.conversation": "language"}),
        ({"allow_override": ("language",)}, {"agent.languages": '{ de = {}, en = { prompt = "Brief." } }',
         "panel.buttons": '{ b = { pin = 5, press = "language_next" } }'}, {"agent.overrides": "agent.prompt.prompt"}),
        ({"allow_override": ("first_message",)}, {"agent.continue_silently": "true"}, {}),
    ],
)  # fmt: skip
def test_what_the_agent_does_not_send_or_allow_is_named(
    world: World, options: dict[str, Any], config: dict[str, str], found: dict[str, str]
) -> None:
    """With a key that may look: events that are switched off, overrides that only a later conversation would send."""
    world.write("etc/device-agent/api-key", KEY).chmod(0o600)
    world.config |= config
    with Bench(require_key=KEY, **options) as service:
        world.config["server.url"] = f'"ws://{service.host}"'
        complaints = world.complaints()
    assert set(complaints) == set(found)
    assert all(text in complaints[id].evidence for id, text in found.items())


@pytest.mark.parametrize("answer", [None, [], {}, {"conversation_config": 3}, {"platform_settings": {"overrides": []}}])
def test_settings_of_an_agent_that_say_nothing_are_skipped(world: World, answer: Any) -> None:
    """Another version of the service, or a key that may not look."""
    world.config["agent.continue_silently"] = "true"
    case = world.case()
    chosen = [check for check in CHECKS if check.id in ("config.valid", "agent.events", "agent.overrides")]
    case.agent = answer if isinstance(answer, dict) else "the answer holds no settings"
    assert [result.status for result in examine(chosen, case)] == [Status.OK, Status.SKIPPED, Status.SKIPPED]


def test_fixing_is_done_for_real(tmp_path: Path) -> None:
    """The started program closes a key that all may read, and calls systemd's tools as it says; then it looks again."""
    home, tools, log = tmp_path / "home", tmp_path / "tools", tmp_path / "called"
    (home / "device-agent").mkdir(parents=True)
    key = home / "device-agent" / "api-key"
    key.write_text(KEY)
    key.chmod(0o644)
    tools.mkdir()
    for name in ("systemctl", "timedatectl", "loginctl"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n[ "$1" != show ] || echo no\n')
        (tools / name).chmod(0o755)
    environ = {**os.environ, "XDG_CONFIG_HOME": str(home), "PATH": f"{tools}:{os.environ['PATH']}"}
    command = (sys.executable, "-m", "device_agent", "doctor")
    before = subprocess.run((*command, "config"), env=environ, capture_output=True, text=True)
    assert "config.secrets" in before.stdout and key.stat().st_mode & 0o777 == 0o644
    done = subprocess.run((*command, "config", "--fix"), env=environ, capture_output=True, text=True)
    assert f"chmod 600 {key}: done" in done.stderr and "config.secrets" not in done.stdout
    assert key.stat().st_mode & 0o777 == 0o600
    subprocess.run((*command, "clock", "--fix"), env=environ, capture_output=True, text=True)
    if not Path("/run/systemd/timesync/synchronized").exists():
        assert "timedatectl set-ntp true" in log.read_text().splitlines()


def test_an_unknown_audio_format_is_named(world: World) -> None:
    """It is the agent's setting."""
    check = [check for check in CHECKS if check.id == "agent.formats"]
    case = world.case()
    case.formats = ("opus_48000", "pcm_16000")
    assert "opus_48000" in next(examine(check, case)).finding.evidence


def test_a_running_device_is_asked_in_place_of_its_cards(world: World) -> None:
    """It holds them: what it says of them counts."""
    world.status = {"state": "idle", "microphone": "", "loudspeaker": "loudspeaker 'x' is gone"}
    world.microphone = "must not be opened"
    assert set(world.complaints()) == {"audio.loudspeaker"}


def test_a_board_is_known_by_the_card_of_each_of_its_overlays(world: World) -> None:
    """The older overlay for the same codec gives it another name."""
    world.write("boot/firmware/config.txt", "[all]\n# device-agent: respeaker-2mic-v1\ndtoverlay=wm8960-soundcard\n")
    card = " 1 [wm8960soundcard]: simple-card - wm8960-soundcard\n                      wm8960-soundcard\n"
    assert set(world.complaints()) == {"board.card"}
    world.write("proc/asound/cards", card)
    assert not world.complaints()


def test_a_device_that_was_started_by_hand_may_hold_its_cards(world: World) -> None:
    """`python -m device_agent run`: the kernel calls its owner python3, and it answers for itself."""
    world.write("proc/asound/card1/pcm0c/sub0/status", "state: RUNNING\nowner_pid   : 77\n")
    world.write("proc/77/comm", "python3\n")
    assert set(world.complaints()) == {"audio.free"}
    world.status = {"state": "idle"}
    assert not world.complaints()


def test_what_the_self_check_has_found_is_a_complaint(world: World) -> None:
    """Streams run, and nothing is heard."""
    world.status = {"state": "no-microphone", "microphone": "", "microphone_check": "microphone hears nothing at all"}
    assert set(world.complaints()) == {"audio.microphone"}
    world.status = {"state": "no-loudspeaker", "loudspeaker_check": "the chirp was not heard"}
    assert set(world.complaints()) == {"audio.loudspeaker"}


def test_a_device_that_this_user_may_not_ask_is_neither_absent_nor_disturbed(world: World) -> None:
    """Its cards are not opened, because it holds them; the person hears which group is missing."""

    def refused(_: Mapping[str, str]) -> Mapping[str, Any]:
        raise PermissionDenied("control.sock: join the group device-agent (or use sudo)")

    world.ask, world.microphone = refused, "must not be opened"  # type: ignore[method-assign]
    found = {result.id: result.finding for result in world.results()}
    for id in ("audio.microphone", "audio.loudspeaker", "service.device"):
        assert found[id].status is Status.SKIPPED and "group device-agent" in found[id].evidence
    assert not world.complaints()


def test_a_key_that_only_the_service_sees_is_no_complaint(world: World) -> None:
    """systemd gives it to the service alone: from a shell a private agent cannot be tried, and the person hears how."""
    with Bench(require_key=KEY) as service:
        world.config["server.url"] = f'"ws://{service.host}"'
        assert set(world.complaints()) == {"agent.conversation"}
        world.write("etc/credstore.encrypted/elevenlabs-api-key", "closed")
        found = {result.id: result.finding for result in world.results()}
        assert not world.complaints()
        assert found["agent.conversation"].status is Status.SKIPPED
        assert "--as-service" in found["agent.conversation"].evidence
        assert "systemd" in found["config.secrets"].evidence
        world.config["server.auth"] = '"key"'
        assert not world.complaints()


def test_a_users_service_is_mended_by_its_user(world: World) -> None:
    """Not with sudo, which does not reach it."""
    world.user_unit = {**world.unit, "ActiveState": "failed", "NRestarts": "9"}
    world.unit = {"LoadState": "not-found"}
    complaints = world.complaints()
    for id in ("service.running", "service.restarts"):
        assert "journalctl --user -u device-agent" in complaints[id].remedy and "sudo" not in complaints[id].remedy
    world.user_unit |= {"ActiveState": "active", "NeedDaemonReload": "yes"}
    assert world.complaints()["service.running"].remedy == "systemctl --user daemon-reload"


def test_what_may_be_fixed_is_a_command(world: World) -> None:
    """The mode of a key, the time service, a service that is not enabled."""
    world.write("etc/device-agent/api-key", KEY).chmod(0o644)
    world.unit["UnitFileState"] = "disabled"
    (world.root / "run/systemd/timesync/synchronized").unlink()
    fixes = {id: finding.fix for id, finding in world.complaints().items()}
    assert fixes == {
        "config.secrets": ("chmod", "600", str(world.root / "etc/device-agent/api-key")),
        "clock.synchronised": ("timedatectl", "set-ntp", "true"),
        "service.enabled": ("systemctl", "enable", "device-agent.service"),
    }


def test_the_lines_and_the_json_say_the_same(world: World) -> None:
    """Complaints with remedies for a person; all checks for a program."""
    world.free = 1
    results = world.results()
    text = "\n".join(lines(results, every=False))
    assert "WARNING  disk.space" in text and "→ sudo journalctl" in text and "memory.available" not in text
    document = json.loads(as_json(results))
    assert document["healthy"] and [check["id"] for check in document["checks"]] == [check.id for check in CHECKS]


def test_the_bundle_of_a_users_service_has_its_journal(world: World, tmp_path: Path) -> None:
    """And its unit: what the system's systemd says would be nothing."""
    world.user_unit, world.unit = world.unit, {"LoadState": "not-found"}
    bundle([], world.case(), tmp_path / "report.tar.gz")
    asked = [" ".join(words) for words in world.ran]
    assert any(words.startswith("journalctl --user -u device-agent") for words in asked)
    assert "systemctl --user cat device-agent" in asked and "systemctl cat device-agent" not in asked


def test_the_bundle_holds_no_secret(world: World, tmp_path: Path) -> None:
    """Keys, addresses and prompts are left out, wherever they came from."""
    world.write("etc/device-agent/api-key", KEY).chmod(0o600)
    world.config |= {"agent.prompt": '"CANARY prompt"', "agent.user_id": '"CANARY user"'}
    world.write("proc/mounts", f"/dev/sda / ext4 rw 0 0\n//192.168.7.9/x /mnt cifs password=CANARY,{KEY} 0 0\n")
    case = world.case()
    file = tmp_path / "report.tar.gz"
    bundle(list(examine(CHECKS, case)), case, file)
    with tarfile.open(file) as tar:
        texts = {member.name: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]
    assert {"device-agent-report/doctor.txt", "device-agent-report/config.toml"} <= set(texts)
    assert "CANARY" not in "".join(texts.values()) and "192.168.7.9" not in "".join(texts.values())
    with pytest.raises(FileExistsError):
        bundle([], case, file)


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_bundle_tells_nothing_of_what_was_said(world: World, tmp_path: Path, style: str) -> None:
    """Though log.transcripts has it in the journal."""
    said: list[str] = []
    logger = logging.getLogger("device_agent")
    handler = QueueingHandler(said.append)
    handler.setFormatter(formatter(style))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        observer = LogObserver(True)
        for message in (m.UserTranscript("my CANARY", 1), m.AgentResponse("your\nCANARY", 1)):
            observer(0.0, e.ServerSaid(1, message), (), Snapshot())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert len(said) == 2 and all("CANARY" in line for line in said)
    cleaned = clean("\n".join([*said, "device.up name='USB'"]))
    assert "CANARY" not in cleaned and "device.up name='USB'" in cleaned and "conversation.user" in cleaned


def test_addresses_of_both_families_are_left_out_and_times_are_not() -> None:
    """2001:db8::1 goes, 12:34:56 stays."""
    line = "2026-01-02T12:34:56+0100 from 2001:db8::a9f:1, fe80::1%eth0 [::1]:443 and 10.0.0.7; x::y 1:2:3:4:5:6:7:8"
    assert clean(line) == "2026-01-02T12:34:56+0100 from (ip), (ip)%eth0 [(ip)]:443 and (ip); x::y (ip)"


def test_a_bundle_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the remedy, before anything is looked at for half a minute."""
    assert main(["doctor", "report", "--output", str(tmp_path / "none" / "x.tar.gz")]) == 64
    assert "choose another one with --output" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["--fix", "report", "--set=agent.id=x"])
def test_the_sandbox_refuses_what_it_would_not_do(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the service's sandbox nothing is changed or written, and its own configuration holds: said, not left out."""
    assert main(["doctor", "--as-service", word]) == 64
    assert "leave out --config, --set, --fix and report" in capsys.readouterr().err


def test_the_sandbox_is_the_units_own() -> None:
    """Its user, groups, devices, filters; not its kind, its watchdog, or the directory that the device lives in."""
    unit = (ROOT / "systemd" / "device-agent.service").read_text()
    given = list(properties(unit))
    assert {"User=device-agent", "SupplementaryGroups=audio gpio spi", "DevicePolicy=closed", "ProtectSystem=strict",
            "SystemCallFilter=@system-service", "LoadCredential=elevenlabs-api-key"} <= set(given)  # fmt: skip
    assert not [line for line in given if line.startswith(("Type", "ExecStart", "Restart", "Watchdog", "Nice"))]
    assert [line for line in given if line.startswith("RuntimeDirectory=")] == ["RuntimeDirectory=device-agent-doctor"]


def test_a_package_that_is_not_installed_has_no_version() -> None:
    """Also the part of one, whose search alone would fail."""
    assert (installed("no.such.package"), installed("no-such-package")) == ("", "")
    assert installed("cattrs") and installed("_webrtcvad")


def test_only_root_may_put_on_the_sandbox() -> None:
    """Said in one line, before anything runs."""
    unit = "[Service]\nUser=x\nExecStart=/usr/bin/device-agent run\n"
    unit += "[Service]\nExecStart=\nExecStart=/opt/venv/bin/device-agent run\n"
    answers = {"id": Output(0, "0"), "systemctl": Output(0, unit)}
    words = command(Host(run=lambda words: answers[words[0]]), ["--json"])
    assert words[-3:] == ["/opt/venv/bin/device-agent", "doctor", "--json"] and "User=x" in words
    with pytest.raises(PermissionDenied):
        command(Host(run=lambda words: Output(0, "1000")), [])
