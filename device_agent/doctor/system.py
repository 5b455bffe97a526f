"""The system, its versions, and the libraries."""

from __future__ import annotations

import re

from device_agent.doctor.check import Finding, failed, ok, warning
from device_agent.doctor.host import Case
from device_agent.system.identity import device_id
from device_agent.version import __version__

OLDEST_PYTHON = (3, 11)
NEEDED = {"PyAudio": "python3-pyaudio", "cattrs": "python3-cattr", "websocket-client": ""}


def python(case: Case) -> Finding:
    """The interpreter and what it runs on."""
    version = ".".join(map(str, case.host.python))
    found = re.search(r'^PRETTY_NAME="?(.*?)"?$', case.host.text("etc/os-release"), re.MULTILINE)
    board = case.host.text("proc/device-tree/model") or "no Raspberry Pi"
    name = device_id(case.host.place("etc/machine-id")) or "none yet"
    ours = f"device-agent {__version__}, device id {name}"
    system = f"Python {version}, {found[1] if found else 'unknown system'}, {board}, {ours}"
    if case.host.python < OLDEST_PYTHON:
        return failed(system, "Python 3.11 or newer is needed: use Debian 12, Raspberry Pi OS bookworm or newer")
    return ok(system)


def libraries(case: Case) -> Finding:
    """The Python packages without which nothing works."""
    versions = {name: case.host.installed(name) for name in NEEDED}
    missing = [name for name, version in versions.items() if not version]
    if not (case.host.installed("webrtcvad-wheels") or case.host.installed("_webrtcvad")):
        missing.append("webrtcvad-wheels")
    if missing:
        return failed(f"not installed: {', '.join(missing)}", _install(missing))
    if not re.match(r"1\.(9|\d\d)|\?", versions["websocket-client"]):
        return failed(
            f"websocket-client {versions['websocket-client']} is installed; 1.9 or newer (below 2) is needed",
            "install the device-agent package, which carries its own, or pip install 'websocket-client>=1.9,<2'",
        )
    return ok(", ".join(f"{name} {version}" for name, version in versions.items()))


def _install(missing: list[str]) -> str:
    packages = [NEEDED.get(name, "") for name in missing]
    if all(packages):
        return f"sudo apt install {' '.join(packages)}"
    return f"install the device-agent package, which carries them, or pip install {' '.join(missing)}"


def resampler(case: Case) -> Finding:
    """Debian's resampler, without which sound is converted badly or not at all."""
    if case.host.speexdsp():
        return ok("libspeexdsp is there")
    return warning(
        "libspeexdsp.so.1 is not installed: only cards that take 16 kHz work", "sudo apt install libspeexdsp1"
    )
