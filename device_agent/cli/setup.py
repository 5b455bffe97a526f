"""Ask for the agent's id and the API key, prove them, store them, and play back what you say.

As root it sets up the service: the key becomes its credential, and it is enabled and started. `--board` first shows and
makes the change that a sound board needs in the Raspberry Pi's boot configuration.

`device-agent setup echo` only tries how the microphone hears the loudspeaker, `device-agent setup wiring` lights and
buttons.

From a script: `device-agent setup --agent-id ID --no-audio < key-file`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.cli.options import add_settings_arguments, settings_paths
from device_agent.cli.trials import play_back, prove
from device_agent.config.edit import store, store_settings
from device_agent.config.endpoints import HOSTS
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, check_secret
from device_agent.errors import ConfigError, UsageError
from device_agent.setup.boards import BOARDS, board
from device_agent.setup.boot import BootConfig
from device_agent.setup.credentials import Encrypt, Keyring, systemd_creds

if TYPE_CHECKING:
    from device_agent.audio.hardware import Machine

UNIT = "device-agent.service"
PARTS = {
    "echo": "how the microphone hears the loudspeaker, and which audio.echo suits that",
    "wiring": "each light and button in turn, what is wrong with its wires, what to configure, and a drawing",
}
"""What can be set up alone."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What setup needs from the world; a test gives its own."""

    ask: Callable[[str], str]
    ask_hidden: Callable[[str], str]
    prove: Callable[[Settings, Secrets], None]
    """One request with agent id and key; raises `DeviceAgentError` if the service refuses them."""
    play_back: Callable[[Settings], None]
    """Records some seconds and plays them; raises `DeviceAgentError` without a usable card."""
    environ: Mapping[str, str]
    systemctl: Callable[..., bool] = lambda *_: False
    """Runs systemctl with these words; whether it succeeded. False where systemd does not run."""
    mixer: Callable[[str, str, str], bool] = lambda *_: True
    """Sets a control of a card, by parts of their names; False if there is none."""
    root: Path = Path("/")
    encrypt: Encrypt = systemd_creds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds setup's options."""
    add_settings_arguments(parser)
    parser.add_argument("part", nargs="?", choices=tuple(PARTS), help="; ".join(f"{n}: {h}" for n, h in PARTS.items()))
    parser.add_argument("--write", action="store_true", help="of a part: store its advice without asking")
    parser.add_argument("--agent-id", metavar="ID", help="the agent's id, as the ElevenLabs dashboard shows it")
    parser.add_argument("--region", choices=tuple(HOSTS), help="where your ElevenLabs account lives")
    parser.add_argument("--board", choices=tuple(board.name for board in BOARDS), help="the sound board on this Pi")
    parser.add_argument("--yes", action="store_true", help="change the boot configuration without asking")
    parser.add_argument("--no-audio", action="store_true", help="do not try microphone and loudspeaker")


def run(args: argparse.Namespace) -> int:
    """Runs setup in this terminal, or with the key from standard input."""
    ask, ask_hidden = (input, getpass.getpass) if sys.stdin.isatty() else (_no_terminal, _read_line)
    try:
        if args.part:
            return _part(args)
        outside = Outside(ask, ask_hidden, prove, play_back, os.environ, _systemctl, set_control)
        return setup(args, settings_paths(args), outside)
    except EOFError:
        raise UsageError("setup needs an answer") from None


def setup(args: argparse.Namespace, paths: Paths, outside: Outside) -> int:
    """Nothing is stored before the service has accepted it. Raises `DeviceAgentError`."""
    place = Place.of(paths)
    if args.board and _needs_reboot(args, outside, place):
        print("Now reboot (sudo reboot), and type the same command again: it goes on from there.")
        return 0
    agent_id = (args.agent_id or outside.ask("Agent id (agent_…): ")).strip()
    if not agent_id:
        raise ConfigError("no agent id: the ElevenLabs dashboard shows it on the agent's page (agent_…)")
    answers = {"agent.id": agent_id} | ({"server.region": args.region} if args.region else {})
    sets = [*args.sets, *(f"{name}={text}" for name, text in answers.items())]
    settings = load(paths, outside.environ, sets).settings
    key = outside.ask_hidden("API key (not shown; empty for a public agent): ").strip()
    if key:
        outside.prove(settings, Secrets(api_key=check_secret(key, "the input")))
        print("The service accepts agent and key.")
        print(f"Key stored in {_keep(key, place, outside)}.")
    store_settings(place.config, answers)
    print(f"Agent stored in {place.config}.")
    try:
        if not args.no_audio:
            if place.service:  # which may run, and hold the cards
                outside.systemctl("stop", UNIT)
            outside.play_back(settings)
    finally:  # without sound, too, the service shows and says what is wrong
        serves = place.service and _serve(outside)
    if not serves:
        print(f"Now talk with it:\n  {_run_line(args)}")
    return 0


def _serve(outside: Outside) -> bool:
    """Have the service started, now and at each boot; whether there is one."""
    if not outside.systemctl("enable", UNIT):
        return False
    started = outside.systemctl("restart", UNIT)
    print("The service runs: device-agent status" if started else "It did not start: journalctl -u device-agent")
    return True


def _keep(key: str, place: Place, outside: Outside) -> str:
    """Where the key lies now."""
    if place.service:
        kept = Keyring(place.etc, outside.encrypt).keep(key)
        outside.systemctl("daemon-reload")
        return kept
    store(place.key, f"{key}\n", 0o600)
    return f"{place.key}, readable by its owner only"


def _part(args: argparse.Namespace) -> int:
    """Set up one thing alone."""
    paths = settings_paths(args)
    settings = load(paths, os.environ, args.sets).settings
    if args.part == "wiring":
        from device_agent.cli.wiring_trial import wiring_trial

        wiring_trial(settings, input if sys.stdin.isatty() else _no_answer)
        return 0
    from device_agent.cli.echo_trial import echo_trial

    echo_trial(settings, Place.of(paths).config, args.write, input if sys.stdin.isatty() else lambda _: "no")
    return 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answers are kept. `service`: for the service that systemd runs, not for this user."""

    config: Path
    key: Path
    etc: Path
    service: bool

    @classmethod
    def of(cls, paths: Paths) -> Place:
        """Root's answers are the service's. Its user cannot read root's files: systemd hands it the key (credential).

        config.toml is the package's, which replaces it at an upgrade if nobody has changed it.
        """
        if paths.only is not None or paths.own != paths.system:
            return cls(paths.config, paths.api_key, paths.system.parent, service=False)
        return cls(paths.system / "conf.d" / "50-setup.toml", paths.api_key, paths.system.parent, service=True)


def _needs_reboot(args: argparse.Namespace, outside: Outside, place: Place) -> bool:
    """Set up for a board; whether its driver comes with the next boot only."""
    chosen = board(args.board)
    assert chosen is not None  # argparse knows the names
    if not chosen.overlays:
        return False
    boot = BootConfig(outside.root)
    lines = boot.missing(chosen)
    if lines:
        print(f"{chosen.title} needs these lines in {boot.file}:", *lines, sep="\n  ")
        if not args.yes and outside.ask("Add them? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UsageError(f"nothing was changed in {boot.file}")
        print(f"Added. Before it was: {boot.add(chosen, lines)}")
    sides = ("audio.input", "audio.output") if chosen.plays else ("audio.input",)
    store_settings(place.config, {**{side: list(chosen.cards) for side in sides}, **chosen.settings})
    if not lines:
        for control, value in chosen.mixer.items():
            if not any(outside.mixer(card, control, value) for card in chosen.cards):
                print(f"The card has no control {control!r}: alsamixer (package alsa-utils) shows what it has.")
    return bool(lines)


def set_control(card: str, control: str, value: str, machine: Machine | None = None, tool: str = "amixer") -> bool:
    """Set a control of the card with this in its name; whether it has one, and there is amixer to set it."""
    from device_agent.audio.hardware import Machine

    number = next((n for n, found in (machine or Machine()).cards().items() if card in found.name.lower()), None)
    words = (tool, "--quiet", "--card", str(number), "sset", control, value)
    try:
        return number is not None and subprocess.run(words, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _systemctl(*words: str) -> bool:
    if not Path("/run/systemd/system").is_dir():
        return False
    return subprocess.run(("systemctl", "--quiet", *words), check=False).returncode == 0


def _run_line(args: argparse.Namespace) -> str:
    words = ["device-agent", "run"]
    words += ["--config", args.config] if args.config is not None else []
    return shlex.join([*words, *(word for assignment in args.sets for word in ("--set", assignment))])


def _no_terminal(_: str) -> str:
    raise UsageError("without a terminal, setup needs --agent-id, and the key as one line on standard input")


def _no_answer(_: str) -> str:
    raise UsageError("setup wiring asks what you see: it needs a terminal")


def _read_line(_: str) -> str:
    return sys.stdin.readline()
