"""The commands. Each is a module `device_agent.cli.<name>` with `add_arguments(parser)` and `run(args) -> int`.

Only the chosen command's module is imported, so that `--version` and `config check` cost nothing of the others. The
module's docstring is its description in `device-agent <name> --help`.
"""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "run": "talk with the agent",
    "setup": "ask for the agent and the key, prove them, and try microphone and loudspeaker",
    "status": "what the device does, and what is wrong",
    "talk": "open a conversation, end it, or silence the agent",
    "say": "say something to the agent in writing",
    "mute": "mute or unmute the microphone",
    "volume": "show or set the volume",
    "config": "check or show the configuration, or have it read again",
    "doctor": "which part is broken, and what to do about it",
    "demo": "a spoken conversation with a local simulator: no key, no microphone, no Pi",
    "bench": "tools of the bench: a simulator of the service, a level meter, recordings",
}
"""Each command's name and its line in `device-agent --help`."""
