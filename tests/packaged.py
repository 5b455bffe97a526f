"""The Debian package of this checkout, built by the script that builds releases; once for each state of the sources."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ("device_agent", "config", "examples", "script", "systemd", "setup.cfg", "pyproject.toml", "README.md")


def packaged(suite: str) -> Path:
    """The package for `suite` and this machine's architecture, kept in .cache until a source changes."""
    home = ROOT / ".cache" / "packages" / f"{suite}-{_fingerprint()}"
    if not (made := sorted(home.glob("*.deb"))):
        command = (ROOT / "script" / "package", "--suite", suite, "--arch", "amd64", "--output", home)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made = sorted(home.glob("*.deb"))
    return made[0]


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for source in SOURCES:
        place = ROOT / source
        for file in sorted(place.rglob("*")) if place.is_dir() else (place,):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode & 0o111}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
