"""The errors that a person may see: one line each, naming the thing and the remedy.

Exit codes follow sysexits(3), so that systemd and scripts can tell them apart.
"""


class DeviceAgentError(Exception):
    """Something that a person must know. `str()` is one line: the thing, then the remedy."""

    exit_code = 70


class UsageError(DeviceAgentError):
    """The command line asks for something that does not exist."""

    exit_code = 64


class AudioError(DeviceAgentError):
    """No usable sound card, or one that refuses what we need."""

    exit_code = 66


class ServiceError(DeviceAgentError):
    """The agent's service refuses or cannot be reached."""

    exit_code = 69


class PermissionDenied(DeviceAgentError):
    """A right is missing: a group, a file mode, root."""

    exit_code = 77


class ConfigError(DeviceAgentError):
    """The configuration is wrong. `problems` holds every fault at once, one line each."""

    exit_code = 78

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
