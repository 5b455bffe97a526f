"""Mutation testing of the pure core and the protocol: `script/soak --mutants [N]`, a sample of N or all of them.

mutmut makes the mutants (its settings are in setup.cfg) and runs the tests that reach each one; a hundred take some
minutes of two processors. Every survivor is either killed by a better test or explained in survivors.toml; one that is
neither ends this with 1. What is explained is known by its function and its changed lines, so that it outlives others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WORK = ROOT / ".cache" / "mutants"
EXPLAINED = Path(__file__).with_name("survivors.toml")
COPIED = ("device_agent", "tests", "config", "docs", "script", "setup.cfg", "pyproject.toml", "README.md")
VERDICTS = {0: "survived", 1: "killed", 3: "killed", 5: "not reached", 33: "not reached", 34: "skipped"}
NOBODY = "nobody"
MUTMUT = (str(Path(sys.executable).with_name("mutmut")), "run")


def mutmut(*names: str) -> None:
    """Run the tests against these mutants. Its exit code says nothing that its files do not say better."""
    environ = {**os.environ, "PYTHONPATH": ""}
    subprocess.run((*MUTMUT, *names), cwd=WORK, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def codes() -> dict[str, int | None]:
    """The exit code of the tests for each mutant; None where it was not tried."""
    found: dict[str, int | None] = {}
    for file in sorted((WORK / "mutants").rglob("*.meta")):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def difference(name: str) -> tuple[str, str, str]:
    """The function, the line as it is, and the line of the mutant."""
    shown = subprocess.run((MUTMUT[0], "show", name), cwd=WORK, capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    old, new = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    function = name.rpartition("__mutmut_")[0].replace("xǁ", "").replace("ǁ", ".").replace(".x_", ".")
    return function.removeprefix("device_agent."), old, new


def prepare() -> list[str]:
    """A copy of the work tree with all mutants; their names."""
    shutil.rmtree(WORK, ignore_errors=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, WORK / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, WORK / name)
    mutmut(NOBODY)
    return sorted(codes())


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/soak --mutants", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=0, help="so many of them; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    names = prepare()
    if 0 < chosen.count < len(names):
        names = sorted(random.Random(chosen.seed).sample(names, chosen.count))
    mutmut(*names)
    found = codes()
    if any(found[name] is None for name in names):
        print("not all were tried: do the tests pass without any mutant?", file=sys.stderr)
        return 1
    verdicts = {name: VERDICTS.get(found[name] or 0, "timed out") for name in names}
    explained = {(e["in"], e["is"], e["mutant"]) for e in tomllib.loads(EXPLAINED.read_text())["explained"]}
    open_ = []
    for name, verdict in verdicts.items():
        if verdict not in ("survived", "not reached"):
            continue
        lines = difference(name)
        if lines not in explained and (lines[0], "*", "*") not in explained:
            open_.append(f"{verdict}: {name}\n  {lines[0]}\n  - {lines[1]}\n  + {lines[2]}")
    print("\n".join(open_))
    counts = Counter(verdicts.values())
    print(f"{len(names)} mutants: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    print(f"{len(open_)} neither killed nor explained")
    return int(bool(open_))


if __name__ == "__main__":
    sys.exit(main())
