"""The front door's manners, with a fake apt, a fake sudo and a fake environment in the place of the real ones."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the scripts are for Linux")

APT = """\
echo "apt-get $*" >> "$LOG"
case "$*" in
    *update*) touch "$LISTS" ;;
    *--simulate*) [ -e "$LISTS" ] && echo "$PLAN" ;;
esac
"""


def script(name: str) -> str:
    return (ROOT / "script" / name).read_text()


def tiers() -> int:
    """How many tiers `script/test --all` runs."""
    return len(re.findall(r'^ *tier "', script("test"), re.MULTILINE))


class Machine:
    """A checkout in a path with a space, on a machine of which the fakes below tell the state."""

    def __init__(self, home: Path) -> None:
        self.checkout = home / "voice device"
        self.fakes = home / "fakes"
        self.log = home / "log"
        self.lists = home / "lists"
        self.plan = "Inst python3-venv"
        self.uid = 0
        shutil.copytree(ROOT / "script", self.checkout / "script")
        shutil.copytree(ROOT / ".ci", self.checkout / ".ci")
        for name in ("setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.checkout)
        self.fakes.mkdir()
        self.log.touch()
        self.lists.touch()
        self.command("apt-get", APT)
        self.command("id", 'echo "$FAKE_UID"')
        self.command("pulseaudio", "true")
        self.command("pactl", "exit 1")
        self.packages(installed=False)

    def command(self, name: str, body: str, directory: Path | None = None) -> None:
        path = (directory or self.fakes) / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def packages(self, *, installed: bool) -> None:
        self.command("dpkg-query", "echo '|installed'" if installed else "exit 1")

    def environment(self, **answers: str) -> None:
        """A finished virtual environment; `answers` are the bodies of its commands."""
        directory = self.checkout / ".venv" / "bin"
        directory.mkdir(parents=True)
        (directory.parent / "pyvenv.cfg").write_text(
            f"command = python3 -m venv --system-site-packages {directory.parent}"
        )
        (self.checkout / ".cache" / "sound" / "alsa-lib").mkdir(parents=True)
        for name in ("python", "ruff", "mypy", "lint-imports", "coverage", "pytest", "device-agent"):
            self.command(name, answers.get(name, f'echo "{name} $*" >> "$LOG"'), directory)

    def official_sdk(self) -> None:
        """Its finished environment."""
        (version,) = re.findall(r"elevenlabs==[0-9.]+", (self.checkout / "script" / "test").read_text())
        python = subprocess.run(("/usr/bin/python3", "--version"), capture_output=True, text=True).stdout.strip()
        directory = self.checkout / ".venv-sdk"
        (directory / "bin").mkdir(parents=True)
        (directory / ".complete").write_text(f"{self.checkout} {python} {version}")
        self.command("python", "true", directory / "bin")

    def guest_image(self) -> None:
        """The virtual machine's image is there."""
        self.command("test-vm", 'echo "test-vm $*" >> "$LOG"', self.checkout / "script")

    def run(self, *command: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout, from elsewhere; without a terminal unless `stdin` is one."""
        environ = {
            "PATH": f"{self.fakes}:{os.environ['PATH']}",
            "LOG": str(self.log),
            "LISTS": str(self.lists),
            "PLAN": self.plan,
            "FAKE_UID": str(self.uid),
            "XDG_RUNTIME_DIR": str(self.fakes),
        }
        return subprocess.run(
            (self.checkout / command[0], *command[1:]), env=environ, cwd=self.fakes, stdin=stdin,
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    @property
    def done(self) -> list[str]:
        """What the fakes were asked to do."""
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_root_and_terminal_the_exact_apt_line_is_printed(machine: Machine) -> None:
    """Neither root nor a terminal: nothing is installed, the line to run is the last one, exit code 77."""
    machine.uid = 1000
    ended = machine.run("script/demo", "--mic")
    assert ended.returncode == 77
    assert ended.stderr.splitlines()[-1] == (
        "sudo apt-get install --no-install-recommends python3-venv python3-pyaudio libspeexdsp1 flite"
    )
    assert not any("--yes" in line for line in machine.done)


def test_without_package_lists_the_printed_line_reads_them_first(machine: Machine) -> None:
    """A machine that never ran `apt-get update` is told to run that, too."""
    machine.uid = 1000
    machine.lists.unlink()
    ended = machine.run("script/demo", "--mic")
    assert ended.returncode == 77
    assert ended.stderr.splitlines()[-1].startswith("sudo apt-get update && sudo apt-get install ")


def test_nothing_is_installed_that_would_remove_something(machine: Machine) -> None:
    """Apt's plan is read before it is carried out: a removal ends the script with a sentence that names it."""
    machine.plan = "Remv pipewire-pulse [0.3.65]\nInst python3-venv"
    ended = machine.run("script/demo", "--mic")
    assert ended.returncode == 69
    assert "would remove pipewire-pulse: nothing was changed" in ended.stderr
    assert not any("--yes" in line for line in machine.done)


def test_packages_are_simulated_then_installed_with_nothing_removed(machine: Machine) -> None:
    """As root: a simulation, then the same packages without recommendations, by an apt that may not remove any."""
    machine.environment()
    ended = machine.run("script/demo", "--mic")
    assert ended.returncode == 0, ended.stderr
    simulation, installation = (line for line in machine.done if line.startswith("apt-get"))
    assert "--simulate" in simulation
    assert "--no-remove --no-install-recommends" in installation
    assert installation.endswith("python3-venv python3-pyaudio libspeexdsp1 flite")


def test_at_a_terminal_a_user_installs_with_sudo(machine: Machine) -> None:
    """Not root, but somebody sits there who can give the password: sudo for apt, and for nothing else."""
    machine.uid = 1000
    machine.environment()
    machine.command("sudo", 'echo "sudo $*" >> "$LOG"')
    terminal, theirs = pty.openpty()
    ended = machine.run("script/demo", "--mic", stdin=theirs)
    os.close(theirs)
    os.close(terminal)
    assert ended.returncode == 0, ended.stderr
    (sudo,) = (line for line in machine.done if line.startswith("sudo"))
    assert "apt-get install" in sudo


def test_package_lists_are_read_only_where_they_are_missing(machine: Machine) -> None:
    """`apt-get update` runs when apt does not know the packages."""
    machine.environment()
    machine.lists.unlink()
    ended = machine.run("script/demo", "--mic")
    assert ended.returncode == 0, ended.stderr
    verbs = [next(verb for verb in ("--simulate", "update", "--yes") if verb in line) for line in machine.done[:4]]
    assert verbs == ["--simulate", "update", "--simulate", "--yes"]


def test_a_second_run_goes_straight_to_the_demo(machine: Machine) -> None:
    """With everything in place neither apt nor pip runs again, and the options reach the demo."""
    machine.packages(installed=True)
    machine.environment()
    machine.run("script/demo", "--mic")
    machine.log.write_text("")
    ended = machine.run("script/demo", "--mic", "--output", "my call.wav")
    assert ended.returncode == 0, ended.stderr
    assert machine.done == ["python -c ", "device-agent demo --mic --output my call.wav"]


def test_virtual_cards_bring_their_tools_and_an_echo_call_does_not(machine: Machine) -> None:
    """The demo with its virtual cards needs pulseaudio-utils; `--mic` uses the cards that are there."""
    machine.uid = 1000
    assert "pulseaudio-utils" in machine.run("script/demo").stderr
    assert "pulseaudio-utils" not in machine.run("script/demo", "--mic").stderr


def test_help_installs_nothing(machine: Machine) -> None:
    """Asking is free."""
    for script in ("script/demo", "script/test"):
        ended = machine.run(script, "--help")
        assert ended.returncode == 0
        assert ended.stdout
    assert not machine.done


def test_the_last_line_sums_up_all_tiers(machine: Machine) -> None:
    """Each check counts once, each tier as pytest counts; every one runs although an earlier one fails."""
    machine.packages(installed=True)
    machine.environment(ruff="exit 1", pytest="echo '=== 1 failed, 6 passed, 2 skipped in 0.5s ==='; exit 1")
    ended = machine.run("script/test")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "15 passed, 4 failed"


def test_all_green_exits_with_zero(machine: Machine) -> None:
    """Five checks and two tiers that pass."""
    machine.packages(installed=True)
    machine.environment(pytest="echo '6 passed, 2 skipped in 0.5s'")
    ended = machine.run("script/test")
    assert ended.stdout.splitlines()[-1] == "17 passed, 0 failed"
    assert ended.returncode == 0


def test_a_pytest_that_breaks_has_failed(machine: Machine) -> None:
    """A crash without any closing line counts as a failure."""
    machine.packages(installed=True)
    machine.environment(pytest="exit 139")
    ended = machine.run("script/test")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "5 passed, 2 failed"


def test_all_the_slow_tiers_do_not_forgive_a_skipped_test(machine: Machine) -> None:
    """With --all, what real audio, the slow tests or the official clients skip counts as failed."""
    machine.packages(installed=True)
    machine.environment(pytest="echo '6 passed, 2 skipped in 0.5s'")
    machine.command("chromium", "true")
    machine.command("npm", "true")
    machine.official_sdk()
    machine.guest_image()
    ended = machine.run("script/test", "--all")
    assert "test-vm --build bookworm" in machine.done
    strict = len(re.findall(r'^ *tier ".*" (?:yes|"\$all") ', script("test"), re.MULTILINE))
    assert ended.stdout.splitlines()[-1] == f"{5 + 6 * tiers()} passed, {2 * strict} failed"
    assert ended.returncode == 1


def test_the_closing_line_of_ci_is_that_of_all_tests(machine: Machine) -> None:
    """`.ci/run` is `script/test --all`, to its last line and exit code."""
    machine.packages(installed=True)
    machine.environment(pytest="echo '6 passed in 0.5s'")
    machine.command("chromium", "true")
    machine.command("npm", "true")
    machine.official_sdk()
    machine.guest_image()
    ended = machine.run(".ci/run")
    assert ended.stdout.splitlines()[-1] == f"{5 + 6 * tiers()} passed, 0 failed"
    assert ended.returncode == 0
