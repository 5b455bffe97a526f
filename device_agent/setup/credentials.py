"""The key as a credential of the service: encrypted for this machine where systemd can, else as a file of root's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_agent.config.edit import store
from device_agent.config.secrets import API_KEY_CREDENTIAL

DROPIN = Path("systemd/system/device-agent.service.d/50-setup.conf")
TEXT = f"""# By `device-agent setup`: the key is encrypted for this machine.
[Service]
LoadCredential=
LoadCredentialEncrypted={API_KEY_CREDENTIAL}
"""
PATIENCE_S = 30.0

Encrypt = Callable[[str, str, Path], bool]
"""Encrypts a secret under a name into a file; False where that is not possible here."""


def systemd_creds(name: str, secret: str, target: Path, tool: str = "systemd-creds") -> bool:
    """By systemd's own tool: with the TPM where there is one, else with the machine's own key."""
    command = (tool, "encrypt", f"--name={name}", "-", "-")
    try:
        done = subprocess.run(command, input=secret, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    if done.returncode or not done.stdout:
        return False
    store(target, done.stdout, 0o600)
    return True


@dataclass(frozen=True, slots=True)
class Keyring:
    """Where the service's key lies, below /etc. Exactly one of the two files is there afterwards."""

    etc: Path
    encrypt: Encrypt = systemd_creds

    def keep(self, key: str) -> str:
        """Store the key; where, and how safe that is, for a person. Raises `DeviceAgentError`."""
        plain = self.etc / "credstore" / API_KEY_CREDENTIAL
        closed = self.etc / "credstore.encrypted" / API_KEY_CREDENTIAL
        if self.encrypt(API_KEY_CREDENTIAL, key, closed):
            store(self.etc / DROPIN, TEXT, 0o644)
            plain.unlink(missing_ok=True)
            return f"{closed}, encrypted for this machine"
        store(plain, f"{key}\n", 0o600)
        (self.etc / DROPIN).unlink(missing_ok=True)
        closed.unlink(missing_ok=True)
        return f"{plain}, readable by root only"
