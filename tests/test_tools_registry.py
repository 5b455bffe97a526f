"""@tool, its schema, the strict check of arguments, and loading files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest

from device_agent import tool
from device_agent.errors import ConfigError
from device_agent.tools.arguments import InvalidArguments
from device_agent.tools.registry import Registry, load_files, make_tool
from device_agent.tools.schema import UnsupportedHint


@dataclass
class Colour:
    red: int
    alpha: float = 1.0
    names: list[str] = field(default_factory=list)


@tool
def paint(
    where: Annotated[str, "which wall"],
    colour: Colour,
    coats: Literal[1, 2] = 1,
    mode: Literal["matt", "gloss"] | None = None,
    areas: Optional[list[float]] = None,  # noqa: UP045 - this form is what many people write
    dry: bool = False,
) -> list[Any]:
    """Paints a wall."""
    return [where, colour, coats, mode, areas, dry]


GOOD = {"where": "north", "colour": {"red": 255}}


def call(**changes: Any) -> Any:
    return make_tool(paint).call({**GOOD, **changes})


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    """A tool can be called and tested like any function."""
    assert paint("south", Colour(1))[0] == "south"


def test_the_schema_comes_from_the_type_hints() -> None:
    """Types, choices, nesting, descriptions and what is required are read from the signature."""
    schema = make_tool(paint).parameters
    assert schema["required"] == ["where", "colour"]
    members = schema["properties"]
    assert members["where"] == {"type": "string", "description": "which wall"}
    assert members["coats"] == {"type": "integer", "enum": [1, 2], "description": "coats"}
    assert members["mode"] == {"type": "string", "enum": ["matt", "gloss"], "description": "mode"}
    assert members["areas"]["items"]["type"] == "number"
    assert members["dry"]["type"] == "boolean"
    assert members["colour"]["type"] == "object"
    assert members["colour"]["required"] == ["red"]
    assert members["colour"]["properties"]["names"]["items"]["type"] == "string"
    json.dumps(schema)


def test_describe_is_what_the_dashboard_takes() -> None:
    """In the dashboard's form members are a list with ids; the description is the docstring."""
    (entry,) = Registry([make_tool(paint)]).describe()
    assert (entry["type"], entry["name"], entry["description"]) == ("client", "paint", "Paints a wall.")
    assert entry["expects_response"] is True
    where, colour, coats, _, areas, _ = entry["parameters"]
    assert where == {
        "id": "where",
        "type": "string",
        "description": "which wall",
        "required": True,
        "value_type": "llm_prompt",
        "enum": None,
        "constant_value": "",
        "dynamic_variable": "",
    }
    assert [member["id"] for member in colour["properties"]] == ["red", "alpha", "names"]
    assert (coats["enum"], coats["required"]) == ([1, 2], False)
    assert areas["items"]["id"] == "areas_item"


def test_schema_is_what_the_api_takes() -> None:
    """In the API's form the parameters are a JSON Schema."""
    (entry,) = Registry([make_tool(paint)]).schema()
    assert entry["parameters"]["type"] == "object"


def test_good_arguments_become_typed_values() -> None:
    """Objects become dataclasses, defaults apply, integers pass as numbers and 2.0 as an integer."""
    assert call() == ["north", Colour(255), 1, None, None, False]
    assert call(colour={"red": 2.0, "alpha": 1, "names": ["x"]}, coats=2, areas=[1, 2.5], mode="matt", dry=True) == [
        "north",
        Colour(2, 1.0, ["x"]),
        2,
        "matt",
        [1.0, 2.5],
        True,
    ]
    assert call(mode=None)[3] is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": {}}, "red"),
        ({"unknown": 1}, "unknown"),
        ({"colour": {"red": 1, "blue": 2}}, "blue"),
        ({"where": 5}, "where"),
        ({"where": None}, "where"),
        ({"colour": {"red": "1"}}, "red"),
        ({"colour": {"red": True}}, "red"),
        ({"colour": {"red": 1.5}}, "red"),
        ({"colour": {"red": 1, "alpha": float("nan")}}, "alpha"),
        ({"colour": "red"}, "colour"),
        ({"colour": {"red": 1, "names": "abc"}}, "names"),
        ({"colour": {"red": 1, "names": [1]}}, "names"),
        ({"coats": 3}, "coats"),
        ({"coats": True}, "coats"),
        ({"mode": "shiny"}, "mode"),
        ({"dry": 1}, "dry"),
        ({"dry": "yes"}, "dry"),
    ],
)
def test_bad_arguments_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    """Missing, unknown and ill-typed members are refused, and the message names them."""
    with pytest.raises(InvalidArguments, match=named):
        call(**changes)


def test_every_fault_is_named_at_once() -> None:
    """The agent learns of all its mistakes in one answer."""
    with pytest.raises(InvalidArguments) as caught:
        make_tool(paint).call({"where": 1, "dry": 2})
    assert all(name in str(caught.value) for name in ("where", "dry", "colour"))


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"where": "x" * 1025}, "1024 bytes"),
        ({"where": "é" * 513}, "1024 bytes"),
        ({"where": "x" * 10_000_000}, "1024 bytes"),
        ({"k" * 1025: 1}, "1024 bytes"),
        ({"where": ["x" * 1000] * 17}, "16384 bytes"),
        ({"where": [1] * 10_000_000}, "16384 bytes"),
        ({"where": [0] * 2100}, "16384 bytes"),
        ({"where": nested(8)}, "deeper"),
    ],
)
def test_size_limits(parameters: dict[str, Any], reason: str) -> None:
    """Texts over 1 kB, more than 16 kB in all and nesting deeper than 8 are refused before any conversion."""
    with pytest.raises(InvalidArguments, match=reason):
        make_tool(paint).call(parameters)


def test_limits_are_not_below_what_they_say() -> None:
    """1,024 bytes of text and a depth of 8 pass the size check."""
    assert call(where="é" * 512)[0] == "é" * 512
    with pytest.raises(InvalidArguments, match="where"):  # refused for its type, not for its depth
        call(where=nested(7))


@dataclass
class Endless:
    inner: Endless


@dataclass
class Unknown:
    inner: Nowhere  # type: ignore[name-defined]  # noqa: F821


def inside(x: Unknown) -> None:
    """Doc."""


def no_docstring(x: int) -> None: ...
def no_hint(x) -> None:  # type: ignore[no-untyped-def]
    """Doc."""


def a_dict(x: dict[str, int]) -> None:
    """Doc."""


def two_kinds(x: int | str) -> None:
    """Doc."""


def bare_list(x: list) -> None:  # type: ignore[type-arg]
    """Doc."""


def mixed(x: Literal["a", 1]) -> None:
    """Doc."""


def star(*x: int) -> None:
    """Doc."""


def unknown(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Doc."""


def endless(x: Endless) -> None:
    """Doc."""


async def later(x: int) -> None:
    """Doc."""


def größe(x: int) -> None:
    """Doc."""


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_docstring, "docstring"),
        (no_hint, "x: has no type hint"),
        (a_dict, r"x: dict\[str, int\] is not supported"),
        (two_kinds, r"x: int \| str is not supported"),
        (bare_list, "x: list is not supported"),
        (mixed, "Literal"),
        (star, "positional"),
        (unknown, "Nowhere"),
        (inside, "Nowhere"),
        (endless, "contains itself"),
        (later, "plain function"),
        (größe, "64 letters"),
    ],
)
def test_what_cannot_be_a_tool_is_said_with_the_reason(function: Callable[..., Any], reason: str) -> None:
    """A signature without a form in the schema is refused when it is loaded, not when it is called."""
    with pytest.raises(UnsupportedHint, match=reason):
        make_tool(function)


def test_tool_belongs_on_functions() -> None:
    """`@tool()` or a decorated class is a mistake that says so."""
    with pytest.raises(TypeError, match="without parentheses"):
        tool(int)


HEAD = "from device_agent import tool\n"
HELLO = HEAD + '@tool\ndef hello(name: str) -> str:\n    """Greets."""\n    return "hello " + name\n'


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_files_are_imported_and_their_tools_collected(tmp_path: Path) -> None:
    """Each @tool function of a file is there under its name; helpers and imported tools are not."""
    file = write(tmp_path, "a.py", HELLO + "def helper(): pass\nfrom tests_other import *\n".replace("from", "# from"))
    registry = load_files([file])
    assert list(registry.tools) == ["hello"]
    hello = registry.get("hello")
    assert hello is not None and hello.call({"name": "you"}) == "hello you"
    assert registry.get("helper") is None


def test_postponed_annotations_and_later_dataclasses_work(tmp_path: Path) -> None:
    """A file may use `from __future__ import annotations` and define a dataclass below the tool that uses it."""
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + HEAD
    text += '@tool\ndef use(x: Thing | None = None) -> int:\n    """Uses."""\n    return x.n if x else 0\n'
    text += "@dataclass\nclass Thing:\n    n: int\n"
    use = load_files([write(tmp_path, "b.py", text)]).get("use")
    assert use is not None and use.call({"x": {"n": 4}}) == 4


def test_all_faults_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    """Missing file, syntax error, failing import, exit, bad hint, same name twice: one error, one line each."""
    files = [
        tmp_path / "missing.py",
        write(tmp_path, "syntax.py", "x = 1\ndef broken(:\n"),
        write(tmp_path, "fails.py", "x = 1\n\nx / 0\n"),
        write(tmp_path, "exits.py", "import sys\nsys.exit('no')\n"),
        write(tmp_path, "hint.py", HEAD + '@tool\ndef bad(x: set) -> None:\n    """Doc."""\n'),
        write(tmp_path, "first.py", HELLO),
        write(tmp_path, "second.py", HELLO),
    ]
    with pytest.raises(ConfigError) as caught:
        load_files(files)
    lines = caught.value.problems
    assert [line.replace(str(tmp_path), "") for line in lines] == [
        "/missing.py: no such Python file; correct tools.files",
        "/syntax.py:2: SyntaxError: invalid syntax",
        "/fails.py:3: ZeroDivisionError: division by zero",
        "/exits.py:2: SystemExit: no",
        "/hint.py:2: tool bad x: set is not supported; use str, int, float, bool, Literal, list[…], "
        "a dataclass, or one of them with | None",
        f"/second.py: tool hello exists already in {tmp_path}/first.py; rename one of them".replace(str(tmp_path), ""),
    ]


def test_importing_the_package_is_cheap() -> None:
    """`import device_agent` loads only the version; `from device_agent import tool` needs no cattrs."""
    program = """
import sys, device_agent
print(sorted(m for m in sys.modules if m.startswith("device_agent.")))
from device_agent import tool
print("cattrs" in sys.modules)
try: device_agent.nothing
except AttributeError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "['device_agent.version']",
        "False",
        "module 'device_agent' has no attribute 'nothing'",
    ], done
