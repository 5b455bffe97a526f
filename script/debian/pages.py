"""Prints the manual page (`man`) or the completion for `bash` or `zsh`, made from the command line's own parser."""

from __future__ import annotations

import sys

from device_agent.__main__ import full_parser
from device_agent.version import __version__


def main(kind: str) -> None:
    parser = full_parser()
    if kind == "man":
        from argparse_manpage.manpage import Manpage

        parser.man_short_description = "voice device for ElevenLabs Agents"  # type: ignore[attr-defined]
        data = {
            "project_name": "device-agent",
            "version": __version__,
            "manual_title": "User Commands",
            "format": "single-commands-section",
        }
        print(Manpage(parser, _data=data))
    else:
        import shtab

        print(shtab.complete(parser, shell=kind))


main(sys.argv[1])
