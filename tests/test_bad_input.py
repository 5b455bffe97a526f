"""Whatever is wrong around the device: one line that names the thing and the remedy, and no traceback.

At a terminal it is an exit code; for a running device a state with its light, and the attempt goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_agent.config.schema import Activation, Agent, Settings
from device_agent.core.commands import Indicator
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind, classify
from device_agent.core.events import DeviceDown, LinkEnded, Start


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def run(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`device-agent` in a home of its own, as at a terminal."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DEVICE_AGENT", "NOTIFY"))}
    return subprocess.run(
        [sys.executable, "-m", "device_agent", *arguments],
        env={**inherited, "HOME": str(home), "XDG_CONFIG_HOME": str(home), **environ},
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip


CONFIG = "{home}/device-agent/config.toml"


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        ("", (), 78, "agent.id is not set: run `device-agent setup`, or add --set agent.id=agent_…"),
        ("[agent]\nid = 'a'\n[server]\nauth = 'key'\n", (), 78,
         'server.auth is "key" and there is no API key: run `device-agent setup`'),
        ("[agent]\nid = 'a'\n[server]\nbroker_url = 'https://b.example/'\n", (), 78,
         "there is no token for the broker: set server.broker_token_file to a file (mode 0600) with it"),
        ("[agent\n", (), 78, "config.toml"),
        ("[agent]\nidd = 'a'\n", (), 78, "unknown setting 'agent.idd'; did you mean agent.id?"),
        ("[audio]\nperiod_ms = 30\n", (), 78, "audio.period_ms"),
        ("[agent]\nid = 'a'\n", ("--set", "agent.api_key=sk_0123456789abcdef"), 78, "sk_…"),
        ("[agent]\nid = 'a'\n[server]\napi_key_file = '/nonexistent/key'\n", (), 78,
         "server.api_key_file names /nonexistent/key, which does not exist"),
        ("[agent]\nid = 'a'\n[tools]\nfiles = ['/nonexistent/tools.py']\n", (), 78, "/nonexistent/tools.py"),
        ("[agent]\nid = 'a'\n", ("--record-wire", "/nonexistent/wire.jsonl"), 64,
         "/nonexistent/wire.jsonl cannot be written (No such file or directory): choose another place"),
        ("[agent]\nid = 'a'\n[server]\nurl = 'ws://example.com'\n", (), 78, "server.url must begin with wss://"),
    ],
)  # fmt: skip
def test_run_refuses_in_one_line(home: Path, text: str, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Exit code and one line on stderr; the key that somebody typed is not repeated."""
    (home / "device-agent").mkdir()
    (home / "device-agent" / "config.toml").write_text(text)
    done = run(home, "run", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr or said == "sk_…"
    assert "0123456789abcdef" not in done.stderr


def test_an_unreadable_file_and_an_open_key_name_themselves(home: Path) -> None:
    """A configuration that is a directory; a key that others can read: file and remedy in one line.

    Sabotage: sound files are not complained of.
    """
    done = run(home, "run", "--config", str(home))
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1)
    assert str(home) in done.stderr
    key = home / "key"
    key.write_text("sk_0123456789abcdef")
    key.chmod(0o644)
    (home / "c.toml").write_text(f"[agent]\nid = 'a'\n[server]\napi_key_file = '{key}'\n")
    done = run(home, "run", "--config", str(home / "c.toml"))
    assert done.returncode == 77
    assert done.stderr == f"device-agent: {key} can be read by others; type: chmod 600 {key}\n"
    key.chmod(0o600)
    done = run(home, "config", "check", "--config", str(home / "c.toml"))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_demo_refuses_an_output_that_cannot_be_written(home: Path) -> None:
    """Before the conversation, not after it: exit code 64, the file and the remedy."""
    done = run(home, "demo", "--output", "/nonexistent/conversation.wav")
    assert done.returncode == 64
    assert done.stderr == (
        "device-agent: /nonexistent/conversation.wav cannot be written (No such file or directory): "
        "choose another place with --output\n"
    )


def test_the_demo_refuses_a_file_that_is_no_recording(home: Path) -> None:
    """--wav: the file and what is wrong with it, before anything starts."""
    (home / "x.wav").write_text("no sound")
    done = run(home, "demo", "--wav", str(home / "x.wav"), "--output", str(home / "out.wav"))
    assert done.returncode == 66
    assert len(done.stderr.splitlines()) == 1
    assert str(home / "x.wav") in done.stderr
    assert not (home / "out.wav").exists()


def test_as_a_service_a_missing_agent_is_a_state(home: Path) -> None:
    """With NOTIFY_SOCKET set the process stays, says what is missing in its status, and ends well when told."""
    from socket import AF_UNIX, SOCK_DGRAM, socket

    (home / "c.toml").write_text("")
    with socket(AF_UNIX, SOCK_DGRAM) as systemd:
        systemd.bind(str(home / "notify"))
        systemd.settimeout(10)
        process = subprocess.Popen(
            [sys.executable, "-m", "device_agent", "run", "--config", str(home / "c.toml")],
            env={**os.environ, "NOTIFY_SOCKET": str(home / "notify")},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            heard = ""
            while "agent.id" not in heard:
                heard = systemd.recv(4096).decode()
            assert heard == "STATUS=setup: agent.id is not set: run `device-agent setup`, or add --set agent.id=agent_…"
        finally:
            process.terminate()
            _, stderr = process.communicate(timeout=10)
        assert (process.returncode, stderr) == (0, "")


REFUSALS = {
    End(Kind.HTTP, 401): "the service refuses the key: run `device-agent setup`",
    End(Kind.HTTP, 404): "there is no such agent: check agent.id",
    End(Kind.CLOSE, 1002, "This request exceeds your quota limit"): (
        "the account's quota is used up: look at the subscription in the ElevenLabs dashboard"
    ),
    End(Kind.CLOSE, 1008, "Override for field 'language' is not allowed by config"): (
        "the agent does not allow an override: take it out of [agent] or allow it in the agent's security settings"
    ),
    End(Kind.CLOSE, 1008, "Missing required dynamic variables in first message: {'name'}"): (
        "the agent needs a dynamic variable: set it in [agent.dynamic_variables]"
    ),
}


@pytest.mark.parametrize(("end", "advice"), REFUSALS.items(), ids=lambda value: getattr(value, "reason", ""))
def test_a_refusal_is_a_state_with_its_light(end: End, advice: str) -> None:
    """The error light, one line that says what to do, and the next attempt later: nothing crashes, nothing hammers."""
    core = Conversation(Settings(agent=Agent(id="a")), lambda: 0.5)
    core.handle(Start(), 0.0)
    core.handle(LinkEnded(1, end), 0.1)
    assert core.snapshot.fault == advice == classify(end).advice
    assert core.snapshot.indicator is Indicator.ERROR
    deadline = core.next_deadline()
    assert deadline is not None
    assert deadline > 0.3


CARDS = (
    "no microphone: no sound card offers one; plug one in, or see `device-agent doctor audio`",
    "microphone 'USB' is in use by another program: close it (fuser -v /dev/snd/*)",
    "microphone 'USB' supports none of the usual sample rates: try another card, or plug:… in ~/.asoundrc",
)


@pytest.mark.parametrize("reason", CARDS)
def test_a_card_that_cannot_be_used_is_a_state(reason: str) -> None:
    """The light says which of the two it is; the driver's own words are the status."""
    core = Conversation(Settings(agent=Agent(id="a"), activation=Activation(("always-on",))), lambda: 0.5)
    core.handle(Start(), 0.0)
    core.handle(DeviceDown("microphone", reason), 0.1)
    assert (core.snapshot.indicator, core.snapshot.microphone) == (Indicator.NO_MICROPHONE, reason)
    core.handle(DeviceDown("loudspeaker", reason), 0.2)
    assert core.snapshot.loudspeaker == reason
