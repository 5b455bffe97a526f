"""`device-agent`: the command line."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from device_agent.cli import COMMANDS
from device_agent.errors import DeviceAgentError, UsageError
from device_agent.version import __version__

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code; a `DeviceAgentError` becomes lines on stderr and its own code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may know fewer letters than we do
        sys.stdout.reconfigure(errors="replace")
    try:
        args = _parser(_command(arguments)).parse_args(arguments)
        code: int = args.run(args)
        print(end="", flush=True)  # not `sys.stdout.flush()`: there may be none
        return code
    except DeviceAgentError as error:
        return _report(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`… | head`). The interpreter flushes stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


class _Parser(argparse.ArgumentParser):
    """Reports usage errors like all others: one line, and sysexits' code 64 in place of argparse's 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def full_parser() -> argparse.ArgumentParser:
    """The parser with every command's options, for manual page and completions."""
    return _parser(*COMMANDS)


def _command(arguments: Sequence[str]) -> str:
    # No option before the command takes a value, so that the first plain word is the command.
    return next((word for word in arguments if not word.startswith("-")), "")


def _parser(*chosen: str) -> argparse.ArgumentParser:
    """Only the chosen commands' modules are imported, and only their options known."""
    parser = _Parser(prog="device-agent", description="A voice device for ElevenLabs Agents.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"device-agent {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, help in COMMANDS.items():
        command = commands.add_parser(name, help=help, allow_abbrev=False)
        if name in chosen:
            module = importlib.import_module(f"device_agent.cli.{name}")
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _report(error: DeviceAgentError) -> int:
    from device_agent.config.secrets import redacted

    for line in str(error).splitlines():
        print(f"device-agent: {redacted(line)}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
