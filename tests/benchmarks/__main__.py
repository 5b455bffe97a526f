"""``python -m tests.benchmarks``: measures both clients, row by row in turn, and writes results/ROW.json.

``--row NAME`` (again and again) chooses rows; ``--client`` measures one client only and saves nothing. Afterwards
``python -m tests.benchmarks.figures`` puts the figures into the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from .bed import OFFICIAL, OURS, ROOT, SDK_VERSION, Bed, Client, sdk_python
from .figures import RESULTS
from .measure import Measured, Row
from .table import ROWS

CLIENTS = (OFFICIAL, OURS)
OURS_ONLY = ("ready", "everything", "idle", "press")


def commit() -> str:
    """The commit that is measured, with a plus if the program differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "device_agent") else "")


def machine() -> str:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = model[0].partition(":")[2].strip() if model else platform.machine()
    return (
        f"{os.cpu_count()} × {name}, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def measure(bed: Bed, row: Row, clients: tuple[Client, ...]) -> tuple[dict[str, Measured], list[str]]:
    """The samples of each client, and what went wrong: a client that fails leaves the others' samples alone."""
    samples: dict[str, Measured] = {client.name: {} for client in clients}
    failures = []
    for _ in range(row.repeats):
        for client in clients:
            try:
                found = row.measure(bed, client)
            except Exception as error:  # one client's failure is a finding, no reason to end the run
                failures.append(f"{client.name}: {error!r}")
                continue
            for key, values in found.items():
                samples[client.name].setdefault(key, []).extend(values)
    return {name: found for name, found in samples.items() if found or row.name in OURS_ONLY}, failures


def report(row: Row, samples: dict[str, Measured]) -> None:
    for line in row.lines:
        cells = [f"{name}: {line.show(found) if found else '–'}" for name, found in samples.items()]
        print(f"  {line.title}\n    {'   '.join(cells)}   (to reach: {line.target})", flush=True)


def save(row: Row, samples: dict[str, Measured], failures: list[str]) -> None:
    facts: dict[str, Any] = {
        "row": row.name,
        "commit": commit(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sdk": SDK_VERSION,
        "load": round(os.getloadavg()[0], 2),
        "n": {name: {key: len(values) for key, values in found.items()} for name, found in samples.items()},
        "failures": failures,
        "samples": samples,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{row.name}.json").write_text(json.dumps(facts, ensure_ascii=False) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this row")
    parser.add_argument("--client", choices=[client.name for client in CLIENTS], help="only this client; saves nothing")
    chosen = parser.parse_args()
    clients = tuple(client for client in CLIENTS if chosen.client in (None, client.name))
    if OFFICIAL in clients:
        sdk_python()
    began, failed = monotonic(), False
    with Bed() as bed:
        for row in ROWS:
            if chosen.row and row.name not in chosen.row:
                continue
            since = monotonic()
            samples, failures = measure(bed, row, clients)
            print(
                f"{row.name} ({monotonic() - since:.0f} s)", *(f"  failed: {failure}" for failure in failures), sep="\n"
            )
            report(row, samples)
            failed = failed or bool(failures)
            if chosen.client is None:
                save(row, samples, failures)
    print(f"all together {monotonic() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
