"""Ask for the agent's id and the API key, prove them, store them, and play back what you say.

From a script: `device-agent setup --agent-id ID --no-audio < key-file`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device_agent.cli.options import add_settings_arguments, settings_paths
from device_agent.cli.trials import play_back, prove
from device_agent.config.edit import store, store_settings
from device_agent.config.endpoints import HOSTS
from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets, check_secret
from device_agent.errors import ConfigError, UsageError


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds setup's options."""
    add_settings_arguments(parser)
    parser.add_argument("--agent-id", metavar="ID", help="the agent's id, as the ElevenLabs dashboard shows it")
    parser.add_argument("--region", choices=tuple(HOSTS), help="where your ElevenLabs account lives")
    parser.add_argument("--no-audio", action="store_true", help="do not try microphone and loudspeaker")


def run(args: argparse.Namespace) -> int:
    """Runs setup in this terminal, or with the key from standard input."""
    ask, ask_hidden = (input, getpass.getpass) if sys.stdin.isatty() else (_no_terminal, _read_line)
    try:
        return setup(args, settings_paths(args), Outside(ask, ask_hidden, prove, play_back, os.environ))
    except EOFError:
        raise UsageError("setup needs an answer") from None


def setup(args: argparse.Namespace, paths: Paths, outside: Outside) -> int:
    """Nothing is stored before the service has accepted it. Raises `DeviceAgentError`."""
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
        store(paths.api_key, f"{key}\n", 0o600)
        print(f"Key stored in {paths.api_key}, readable by its owner only.")
    store_settings(paths.config, answers)
    print(f"Agent stored in {paths.config}.")
    if not args.no_audio:
        outside.play_back(settings)
    print(f"Now talk with it:\n  {_run_line(args)}")
    return 0


def _run_line(args: argparse.Namespace) -> str:
    words = ["device-agent", "run"]
    words += ["--config", args.config] if args.config is not None else []
    return shlex.join([*words, *(word for assignment in args.sets for word in ("--set", assignment))])


def _no_terminal(_: str) -> str:
    raise UsageError("without a terminal, setup needs --agent-id, and the key as one line on standard input")


def _read_line(_: str) -> str:
    return sys.stdin.readline()
