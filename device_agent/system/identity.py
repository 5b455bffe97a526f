"""Which device this is: known without being written anywhere, so that a memory card can be cloned."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

from device_agent.config.schema import Agent

MACHINE_ID = Path("/etc/machine-id")
PLACEHOLDER = "{device_id}"
APPLICATION = bytes.fromhex("5c1e7c5a6a0b4d0e9c3a2f6f0f0d7b11")
"""Ours alone: another program on this machine comes to another id."""


def device_id(file: Path = MACHINE_ID) -> str:
    """systemd's application-specific machine id, as sd_id128_get_machine_app_specific(3) makes it; "" without one.

    The machine id itself is confidential, and cannot be found from this.
    """
    try:
        machine = bytes.fromhex(file.read_text().strip())
    except (OSError, ValueError):
        return ""
    if len(machine) != 16:
        return ""  # "uninitialized", as the first boot of an image has it
    digest = bytearray(hmac.digest(machine, APPLICATION, hashlib.sha256)[:16])
    digest[6] = digest[6] & 0x0F | 0x40
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def identified(agent: Agent, file: Path = MACHINE_ID) -> Agent:
    """What the agent is told of this device: nothing, unless the user id or a dynamic variable asks for its id."""
    variables = {
        name: value.replace(PLACEHOLDER, device_id(file)) if isinstance(value, str) else value
        for name, value in agent.dynamic_variables.items()
    }
    return replace(agent, user_id=agent.user_id.replace(PLACEHOLDER, device_id(file)), dynamic_variables=variables)
