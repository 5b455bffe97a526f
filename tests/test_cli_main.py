"""The command line as a terminal sees it: exit codes, lines on stderr, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_agent import __version__
from device_agent.__main__ import main
from device_agent.cli import COMMANDS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "c.toml"


def terminal(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "device_agent", *arguments], capture_output=True, text=True, timeout=20
    )


def test_config_check_says_ok_and_which_files_it_read(file: Path) -> None:
    """A good configuration: exit code 0, nothing on stderr."""
    file.write_text("[agent]\nid = 'agent_1'\n")
    done = terminal("config", "check", "--config", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ok\nread {file}\n", "")


def test_config_check_names_every_mistake(file: Path) -> None:
    """A bad configuration: exit code 78, one line for each mistake, no traceback."""
    file.write_text("[audio]\neco = 'off'\n")
    done = terminal("config", "check", "--config", str(file), "--set", "gate.onset=0")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        f"device-agent: {file}:2: unknown setting 'audio.eco'; did you mean audio.echo?\n"
        "device-agent: --set: gate.onset must be from 1 to 25\n"
    )


def test_config_check_names_what_this_machine_lacks(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bus that is switched off is known before anything starts; for another machine the files alone count."""
    file.write_text('[panel]\nbackend = "gpio"\n[lights]\nkind = "apa102"\nspi = "9.9"\n')
    assert main(["config", "check", "--config", str(file)]) == 78
    assert "no /dev/spidev9.9: SPI is off: sudo raspi-config nonint do_spi 0" in capsys.readouterr().err
    assert main(["config", "check", "--config", str(file), "--elsewhere"]) == 0


def test_version_and_help_import_no_command() -> None:
    """--version and --help answer without importing any command's module or the schema."""
    code = "import sys, device_agent.__main__ as m\ntry: m.main([sys.argv[1]])\nexcept SystemExit: pass\n"
    code += "print(*(n for n in sys.modules if n.startswith('device_agent.')))"
    for option, expected in (("--version", f"device-agent {__version__}"), ("--help", "usage: device-agent")):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, timeout=20)
        assert done.stdout.startswith(expected)
        assert done.stdout.splitlines()[-1] == (
            "device_agent.version device_agent.cli device_agent.errors device_agent.__main__"
        )


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has its line."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "the following arguments are required: COMMAND (see `device-agent --help`)"),
        (["config"], "the following arguments are required: ACTION (see `device-agent config --help`)"),
        (["config", "show", "--al"], "unrecognized arguments: --al (see `device-agent --help`)"),
        (
            ["bench", "meter", "--seconds", "soon"],
            "argument --seconds: must be a number above 0, and 3600 at most, "
            "not 'soon' (see `device-agent bench meter --help`)",
        ),
        (["setup", "--key=sk_0123456789abcdef"], "unrecognized arguments: --key=sk_… (see `device-agent --help`)"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    """Exit code 64; a key on the command line is not repeated."""
    assert main(arguments) == 64
    assert capsys.readouterr().err == f"device-agent: {problem}\n"


def test_an_unknown_command_is_refused_with_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 64, and what there is."""
    assert main(["fly"]) == 64
    assert "choose from" in capsys.readouterr().err


def test_config_show_prints_settings_and_origins(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TOML, with --origin the layer of each setting, with --json for programs."""
    file.write_text("[log]\nlevel = 'debug'\n")
    assert main(["config", "show", "--config", str(file)]) == 0
    assert 'level = "debug"\n' in capsys.readouterr().out
    assert main(["config", "show", "--config", str(file), "--origin", "--set", "audio.echo=off"]) == 0
    shown = capsys.readouterr().out
    assert f'level = "debug"  # {file}:2\n' in shown
    assert 'echo = "off"  # --set\n' in shown
    assert main(["config", "show", "--config", str(file), "--json"]) == 0
    assert '"log.level": "debug"' in capsys.readouterr().out


def test_config_check_mentions_a_missing_agent(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty configuration is right, but nobody can be talked with yet."""
    file.write_text("")
    assert main(["config", "check", "--config", str(file)]) == 0
    assert capsys.readouterr().out.endswith("agent.id is not set yet: `device-agent setup` asks for it\n")


def test_a_terminal_of_another_alphabet_gets_all_that_it_can_show() -> None:
    """A locale without "…" is no reason for a traceback."""
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = (sys.executable, "-m", "device_agent", "volume", "--help")
    done = subprocess.run(command, env=environ, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"0 ? 100" in done.stdout


def test_without_any_output_a_command_does_its_work(file: Path) -> None:
    """As a script calls it that has closed its stdout."""
    command = '"$0" -m device_agent config check --elsewhere --config "$1" >&-'
    file.write_text("")
    done = subprocess.run(["bash", "-c", command, sys.executable, str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error(file: Path) -> None:
    """`device-agent config show | true` ends quietly."""
    file.write_text(f"[agent]\nprompt = '{100_000 * 'x'}'\n")  # more than a pipe holds
    command = '"$0" -m device_agent config show --config "$1" | true; exit ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, str(file)], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (141, "")
