"""The doctor on a machine made of files: one fault at a time is planted, and named by its id; then two at a time."""

from __future__ import annotations

import array
import json
import math
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from test_simulator_server import Bench

from device_agent.__main__ import main
from device_agent.bench.authority import Authority
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.doctor.check import Check, Finding, Result, Status, examine, failed, ok
from device_agent.doctor.host import Case, Host, Output, Recording, installed
from device_agent.doctor.machine import THROTTLE
from device_agent.doctor.report import as_json, bundle, lines
from device_agent.doctor.sandbox import command, properties
from device_agent.doctor.table import CHECKS
from device_agent.errors import AudioError, PermissionDenied, ServiceError
from device_agent.simulator.faults import Refusal
from device_agent.system.wall_clock import SANE

ROOT = Path(__file__).parent.parent
KEY = "sk_0123456789abcdefCANARY"
RATE = 16_000
UNIT = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active", "SubState": "running",
    "Result": "success", "ExecMainStatus": "0", "NRestarts": "0", "WatchdogUSec": "10s", "NeedDaemonReload": "no",
}  # fmt: skip
FILES = {
    "etc/os-release": 'PRETTY_NAME="Raspberry Pi OS"\n',
    "proc/device-tree/model": "Raspberry Pi 4 Model B\0",
    "proc/asound/cards": " 1 [Device         ]: USB-Audio - USB PnP Audio Device\n                      C-Media\n",
    "proc/asound/card1/pcm0c/sub0/status": "closed\n",
    "proc/asound/card1/pcm0p/sub0/status": "closed\n",
    "dev/snd/pcmC1D0c": "",
    "dev/snd/pcmC1D0p": "",
    "dev/gpiochip0": "",
    "proc/meminfo": "MemTotal: 900000 kB\nMemAvailable: 500000 kB\n",
    "proc/mounts": "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n",
    "proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    "sys/class/net/eth0/operstate": "up\n",
    "sys/class/net/lo/operstate": "unknown\n",
    "sys/class/thermal/thermal_zone0/temp": "48000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "run/systemd/timesync/synchronized": "",
    "run/systemd/system/generated": "",
    "boot/firmware/config.txt": "dtparam=audio=on\n",
}


def speech(seconds: float = 1.0) -> array.array[int]:
    return array.array("h", (round(900 * math.sin(n * n / 9000)) for n in range(int(seconds * RATE))))


@dataclass
class World:
    """A healthy machine; a fault changes something in it."""

    root: Path
    url: str = ""
    config: dict[str, str] = field(default_factory=dict)
    unit: dict[str, str] = field(default_factory=lambda: dict(UNIT))
    missing: set[str] = field(default_factory=set)
    environ: dict[str, str] = field(default_factory=dict)
    python: tuple[int, int] = (3, 11)
    now: float = SANE + 1e6
    free: int = 10**9
    closed: list[str] = field(default_factory=list)
    pcm: array.array[int] = field(default_factory=speech)
    microphone: str = ""
    loudspeaker: str = ""
    speexdsp: bool = True
    names: Mapping[str, str] | None = None
    status: Mapping[str, Any] | None = None
    ran: list[Sequence[str]] = field(default_factory=list)
    websocket: str = "1.9.0"

    def __post_init__(self) -> None:
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def run(self, words: Sequence[str]) -> Output:
        self.ran.append(words)
        if words[:2] == ("systemctl", "show"):
            return Output(0, "\n".join(f"{key}={value}" for key, value in self.unit.items()))
        if words[:3] == ("systemctl", "--user", "show"):
            user = self.environ.get("UNIT", "")
            return Output(0, "\n".join(f"{k}={v}" for k, v in UNIT.items()) if user else "LoadState=not-found")
        if words[:2] == ("timedatectl", "show"):
            return Output(0, "no")
        return Output(127, "")

    def resolve(self, host: str, port: int) -> list[tuple[int, str, int]]:
        known = {"127.0.0.1": "127.0.0.1"} | dict(self.names or {})
        if host not in known:
            raise OSError(-2, "Name or service not known")
        return [(socket.AF_INET, known[host], port)]

    def record(self, _: Settings) -> Recording:
        if self.microphone:
            raise AudioError(self.microphone)
        return Recording("USB PnP Audio Device", RATE, self.pcm.tobytes())

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
        settings = {"agent.id": '"agent_1"', "server.url": f'"{self.url}"', "panel.button_pin": "17"} | self.config
        self.write("etc/device-agent/config.toml", "\n".join(f"{key} = {text}" for key, text in settings.items()))
        return Case(
            Host(
                root=self.root,
                environ=self.environ,
                paths=Paths(etc, etc),
                run=self.run,
                installed=lambda name: "" if name in self.missing else self.websocket if "websocket" in name else "1.0",
                speexdsp=lambda: self.speexdsp,
                python=self.python,
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


Fault = Callable[[World], object]


def wave(frequency: int, height: int) -> array.array[int]:
    made = (round(height * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(RATE))
    return array.array("h", (max(-32_768, min(32_767, sample)) for sample in made))


def key(world: World) -> None:
    world.write("etc/device-agent/api-key", KEY).chmod(0o644)


def board(world: World) -> None:
    world.write("boot/firmware/config.txt", "[all]\n# device-agent: respeaker-2mic-v1\ndtoverlay=wm8960-soundcard\n")


def held(world: World) -> None:
    world.write("proc/asound/card1/pcm0c/sub0/status", "state: RUNNING\nowner_pid   : 77\n")
    world.write("proc/77/comm", "arecord\n")


def spi_closed(world: World) -> None:
    world.config.update({"lights.kind": '"ws2812"'})
    world.write("dev/spidev0.0", "")
    world.closed.append("spidev")


def user_unit(world: World) -> None:
    world.unit["LoadState"] = "not-found"
    world.environ |= {"UNIT": "yes", "USER": "pi"}


def elsewhere(world: World) -> None:
    """The service is another machine, whose name leads to this one."""
    world.url, world.names = "wss://agents.test", {"agents.test": "127.0.0.1"}


def cable(world: World) -> None:
    elsewhere(world)
    world.write("sys/class/net/eth0/operstate", "down\n")


def route(world: World) -> None:
    elsewhere(world)
    world.write("proc/net/route", "Iface\tDestination\n")


def name(world: World) -> None:
    elsewhere(world)
    world.names = {}


def closed_port(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world.url = f"ws://127.0.0.1:{free.getsockname()[1]}"


FAULTS: dict[str, tuple[str, Fault]] = {
    "an old Python": ("system.python", lambda w: setattr(w, "python", (3, 9))),
    "PyAudio missing": ("system.libraries", lambda w: w.missing.add("PyAudio")),
    "websocket-client of Debian 12": ("system.libraries", lambda w: setattr(w, "websocket", "1.2.3")),
    "speexdsp missing": ("system.resampler", lambda w: setattr(w, "speexdsp", False)),
    "a misspelt key": ("config.valid", lambda w: w.config.update({"audio.eco": '"off"'})),
    "no TOML at all": ("config.valid", lambda w: w.write("etc/device-agent/conf.d/9.toml", "[audio\n")),
    "a key that all may read": ("config.secrets", key),
    "no agent": ("config.access", lambda w: w.config.update({"agent.id": '""'})),
    "the year 1970": ("clock.date", lambda w: setattr(w, "now", 3600.0)),
    "no time service": ("clock.synchronised", lambda w: w.remove("run/systemd/timesync/synchronized")),
    "cable pulled": ("network.link", cable),
    "no address given": ("network.route", route),
    "no such name": ("network.name", name),
    "nobody listens": ("network.tcp", closed_port),
    "the card of the board absent": ("board.card", board),
    "no card": ("audio.cards", lambda w: w.write("proc/asound/cards", "--- no soundcards ---\n")),
    "not in the group audio": ("audio.rights", lambda w: w.closed.append("pcm")),
    "another card configured": ("audio.configured", lambda w: w.config.update({"audio.input": '"id:Gone"'})),
    "a card held by arecord": ("audio.free", held),
    "a microphone that does not open": ("audio.microphone", lambda w: setattr(w, "microphone", "it: bad: plug it in")),
    "a muted microphone": ("audio.level", lambda w: setattr(w, "pcm", array.array("h", bytes(2 * RATE)))),
    "a clipping microphone": ("audio.level", lambda w: setattr(w, "pcm", wave(440, 60_000))),
    "mains hum": ("audio.level", lambda w: setattr(w, "pcm", wave(50, 4_000))),
    "a loudspeaker that does not open": ("audio.loudspeaker", lambda w: setattr(w, "loudspeaker", "it: gone")),
    "a canceller that is not installed": (
        "audio.echo", lambda w: (w.config.update({"audio.echo": '"aec"'}), w.missing.add("livekit"))
    ),
    "no pins": ("gpio.chip", lambda w: w.remove("dev/gpiochip0")),
    "not in the group gpio": ("gpio.rights", lambda w: w.closed.append("gpiochip")),
    "SPI switched off": ("gpio.spi", lambda w: w.config.update({"lights.kind": '"apa102"'})),
    "not in the group spi": ("gpio.spi", spi_closed),
    "no GPIO library": ("gpio.library", lambda w: w.missing.update(("lgpio", "RPi.GPIO"))),
    "undervoltage": ("power.voltage", lambda w: w.write(THROTTLE, "50005")),
    "heat": ("power.temperature", lambda w: w.write("sys/class/thermal/thermal_zone0/temp", "81000")),
    "a full disk": ("disk.space", lambda w: setattr(w, "free", 1_000_000)),
    "a read-only root": ("disk.writable", lambda w: w.write("proc/mounts", "overlay / overlay ro,relatime 0 0\n")),
    "little memory": ("memory.available", lambda w: w.write("proc/meminfo", "MemAvailable: 9000 kB\n")),
    "a service that is not enabled": ("service.enabled", lambda w: w.unit.update(UnitFileState="disabled")),
    "a user's service without linger": ("service.linger", user_unit),
    "a service that has failed": ("service.running", lambda w: w.unit.update(ActiveState="failed")),
    "a service without watchdog": ("service.watchdog", lambda w: w.unit.update(WatchdogUSec="0")),
    "a service that dies again and again": ("service.restarts", lambda w: w.unit.update(NRestarts="12")),
    "a device that complains": (
        "service.device", lambda w: setattr(w, "status", {"state": "idle", "configuration": "/etc/x.toml:2: bad"})
    ),
    "a proxy": (
        "network.proxy", lambda w: (elsewhere(w), setattr(w, "names", {}), w.environ.update(HTTPS_PROXY="http://p"))
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def service() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.fixture
def world(tmp_path: Path, service: Bench) -> World:
    return World(tmp_path / "root", f"ws://{service.host}")


def test_a_healthy_machine_gets_no_complaint(world: World) -> None:
    """Every check is ok but that of a device, which does not run: and a conversation was really opened."""
    results = world.results()
    assert [(r.id, r.finding) for r in results if r.status is not Status.OK and r.id != "service.device"] == []
    assert "opened" in {r.id: r for r in results}["agent.conversation"].finding.evidence


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(world: World, fault: str) -> None:
    """Its check complains with a remedy, and no other does."""
    id, plant = FAULTS[fault]
    plant(world)
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
def test_two_faults_are_both_named(world: World, one: str, other: str) -> None:
    """Neither hides the other."""
    for fault in (one, other):
        FAULTS[fault][1](world)
    assert set(world.complaints()) == {FAULTS[one][0], FAULTS[other][0]}


def test_every_check_has_a_planted_fault() -> None:
    """But for those that need a server, which tests below plant."""
    by_server = {"network.tls", "network.http", "agent.right", "agent.conversation", "agent.formats"}
    assert {check.id for check in CHECKS} - by_server == {id for id, _ in FAULTS.values()}


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
        elsewhere(world)
        world.url += f":{listener.getsockname()[1]}"
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
        world.url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
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
        world.url = f"ws://{service.host}"
        complaints = world.complaints()
    assert set(complaints) == {id}
    assert word in complaints[id].remedy


def test_an_override_that_is_not_allowed_is_named(world: World) -> None:
    """The agent closes the conversation with its reason."""
    world.config["agent.prompt"] = '"Be brief."'
    complaints = world.complaints()
    assert set(complaints) == {"agent.conversation"}
    assert "override" in complaints["agent.conversation"].remedy


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


def test_what_may_be_fixed_is_a_command(world: World) -> None:
    """The mode of a key, the time service, a service that is not enabled."""
    key(world)
    world.unit["UnitFileState"] = "disabled"
    world.remove("run/systemd/timesync/synchronized")
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
