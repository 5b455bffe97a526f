"""What was found, for a person, for a program, and as a bundle to send to somebody who helps."""

from __future__ import annotations

import io
import ipaddress
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from device_agent.config.render import effective
from device_agent.config.secrets import redacted
from device_agent.doctor.check import Result, Status
from device_agent.doctor.host import Case
from device_agent.doctor.service import managed

MARKS = {Status.OK: "ok     ", Status.WARNING: "WARNING", Status.FAILED: "FAILED ", Status.SKIPPED: "skipped"}
MANAGED = {
    "journal.txt": ("journalctl", "-u", "device-agent", "-n", "400", "--no-pager", "-o", "short-iso"),
    "unit.txt": ("systemctl", "status", "device-agent", "--no-pager", "-n", "0"),
    "cat.txt": ("systemctl", "cat", "device-agent"),
}
"""Asked of the systemd that has our unit."""
COMMANDS = {
    "security.txt": ("systemd-analyze", "security", "--no-pager", "device-agent.service"),
    "dmesg.txt": ("dmesg", "--level=err,warn"),
    "playback.txt": ("aplay", "-l"),
    "capture.txt": ("arecord", "-l"),
    "usb.txt": ("lsusb",),
}
FILES = ("proc/asound/cards", "etc/os-release", "proc/device-tree/model", "proc/meminfo", "proc/mounts")
_ADDRESS = re.compile(r"\b(?:wss?|https?)://\S+")
_SECRET = re.compile(r"(?i)\b\w*(?:signature|token|api-key|password|psk)\b\s*[=:]\s*\S+")
_IP = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
_IP6 = re.compile(r"(?<![\w:.])(?=[0-9a-f]*:[0-9a-f]*:)[0-9a-f:]+(?:\d{1,3}\.[\d.]+)?(?![\w:])", re.IGNORECASE)
_WORDS = re.compile(r"(\bconversation\.(?:user|agent)\b).*")  # as the log has them with log.transcripts
_MAC = re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE)


def lines(results: Sequence[Result], every: bool) -> Iterator[str]:
    """A line for each check (without `every`, only for what is not ok), its remedy below."""
    for result in results:
        finding = result.finding
        if every or finding.status is not Status.OK:
            yield f"{MARKS[finding.status]}  {result.id:20} {finding.evidence}"
            if finding.remedy:
                yield f"{'':9}{'':21}→ {finding.remedy}"
    counts = [(status, sum(result.status is status for result in results)) for status in Status]
    yield ", ".join(f"{count} {status.value}" for status, count in counts if count)


def as_json(results: Sequence[Result]) -> str:
    """One object: `healthy`, and `checks` with id, status, evidence, remedy."""
    checks = [
        {"id": r.id, "status": r.status.value, "evidence": r.finding.evidence, "remedy": r.finding.remedy}
        for r in results
    ]
    return json.dumps({"healthy": not broken(results), "checks": checks}, ensure_ascii=False)


def broken(results: Sequence[Result]) -> bool:
    """Whether a person must act."""
    return any(result.status is Status.FAILED for result in results)


def bundle(results: Sequence[Result], case: Case, file: Path) -> None:
    """Write a .tar.gz with all that helps; no key, token, address or prompt in it, and nothing of what was said."""
    parts = {"doctor.txt": "\n".join(lines(results, every=True)), "doctor.json": as_json(results)}
    if case.loaded:
        agent = replace(case.settings.agent, prompt="", first_message=None, user_id="", overrides={}, extra_body={},
                        dynamic_variables={}, languages={})  # fmt: skip
        parts["config.toml"] = effective(replace(case.settings, agent=agent))
    parts |= {name: case.host.run((*managed(case, tool), *words)).text for name, (tool, *words) in MANAGED.items()}
    parts |= {name: case.host.run(command).text for name, command in COMMANDS.items()}
    parts |= {path.replace("/", "-") + ".txt": case.host.text(path) for path in FILES}
    with tarfile.open(file, "x:gz") as tar:
        for name, text in parts.items():
            data = clean(text).encode()
            entry = tarfile.TarInfo(f"device-agent-report/{name}")
            entry.size, entry.mode = len(data), 0o600
            tar.addfile(entry, io.BytesIO(data))


def clean(text: str) -> str:
    """Without keys, tokens, addresses of any kind, and what was said in conversations."""
    text = _SECRET.sub("(secret)", redacted(_WORDS.sub(r"\1 (words)", text)))
    text = _MAC.sub("(mac)", _ADDRESS.sub("(address)", text))
    return _IP.sub("(ip)", _IP6.sub(lambda found: "(ip)" if _is_ip6(found[0]) else found[0], text))


def _is_ip6(text: str) -> bool:
    """Not a time of the day, which has colons, too."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
