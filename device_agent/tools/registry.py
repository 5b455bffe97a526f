"""Functions on this device that the agent may call: `@tool` marks them, the registry loads and describes them."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

from device_agent.errors import ConfigError
from device_agent.tools.arguments import check_size, structure
from device_agent.tools.schema import Schema, UnsupportedHint, members_form, object_schema

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__device_agent_tool__"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ABSENT: Any = object()


def tool(function: F) -> F:
    """Offer a function to the agent.

    Its name is the tool's name, its docstring the description, its type hints the schema: str, int, float, bool,
    `Literal`, `list[…]`, dataclasses, each also with `| None`; `Annotated[int, "in seconds"]` describes a parameter;
    a default makes it optional. What it returns is told to the agent. It runs in a thread of its own and has a
    deadline (`tools.timeout_s`). The function itself stays as it is.
    """
    if not inspect.isfunction(function):
        raise TypeError("@tool belongs on a plain function, without parentheses")
    setattr(function, _MARK, True)
    return function


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """A function with what the agent must know about it. `arguments` is a dataclass of its parameters."""

    name: str
    description: str
    function: Callable[..., Any]
    arguments: type
    parameters: Schema

    def call(self, parameters: Mapping[str, Any]) -> Any:
        """Check the parameters and run the function. Raises `InvalidArguments`, or what the function raises."""
        check_size(parameters)
        given = structure(parameters, self.arguments)
        values = {f.name: getattr(given, f.name) for f in dataclasses.fields(self.arguments)}
        return self.function(**{name: value for name, value in values.items() if value is not _ABSENT})


def make_tool(function: Callable[..., Any]) -> Tool:
    """The tool that `function` is. Raises `UnsupportedHint` with what a person must change."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UnsupportedHint("is not a plain function; write it with def and return")
    description = inspect.getdoc(function)
    if not description:
        raise UnsupportedHint("has no docstring; the agent reads it to know when to call the tool")
    if not _NAME.fullmatch(function.__name__):
        raise UnsupportedHint("must have a name of at most 64 letters, digits, _ and -")
    parameters = inspect.signature(function).parameters
    hints = _hints(function, parameters)
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    fields = [
        (name, hint, dataclasses.field(default=dataclasses.MISSING if name in required else _ABSENT))
        for name, hint in hints.items()
    ]
    arguments = dataclasses.make_dataclass(f"{function.__name__}_arguments", fields, frozen=True, kw_only=True)
    return Tool(function.__name__, description, function, arguments, _schema(hints, required))


def _schema(hints: Mapping[str, Any], required: list[str]) -> Schema:
    try:
        return object_schema(hints, required)
    except RecursionError as error:
        raise UnsupportedHint("has a dataclass that contains itself") from error
    except NameError as error:
        raise UnsupportedHint(f"has a type hint that cannot be read: {error}") from error


def _hints(function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:  # whatever evaluating a stranger's annotation raises
        raise UnsupportedHint(f"has a type hint that cannot be read: {error}") from error
    for name, parameter in parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UnsupportedHint(f"{name}: *, ** and positional-only parameters are not supported")
        if name not in hints:
            raise UnsupportedHint(f"{name}: has no type hint")
    return {name: hints[name] for name in parameters}


class Registry:
    """The allow-list: a name that is not in it does not exist for the agent."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self.tools = {tool.name: tool for tool in tools}

    def get(self, name: str) -> Tool | None:
        return self.tools.get(name)

    def schema(self) -> list[Schema]:
        """One entry per tool as ElevenLabs' API takes it (`tool_config`)."""
        return [{**self._frame(tool), "parameters": tool.parameters} for tool in self.tools.values()]

    def describe(self) -> list[Schema]:
        """One entry per tool as the ElevenLabs dashboard takes it under "Edit as JSON"."""
        return [{**self._frame(tool), "parameters": members_form(tool.parameters)} for tool in self.tools.values()]

    @staticmethod
    def _frame(tool: Tool) -> Schema:
        return {"type": "client", "name": tool.name, "description": tool.description, "expects_response": True}


def load_files(paths: Iterable[str | Path]) -> Registry:
    """Import the files and collect their tools. Raises one `ConfigError` that names every fault at once."""
    problems: list[str] = []
    tools: dict[str, tuple[Tool, Path]] = {}
    for number, path in enumerate(Path(p).expanduser() for p in paths):
        module = _import(path, f"device_agent_tools_{number}_{path.stem}", problems)
        for made in _tools_in(module, path, problems) if module else ():
            first = tools.setdefault(made.name, (made, path))
            if first[0] is not made:
                problems.append(f"{path}: tool {made.name} exists already in {first[1]}; rename one of them")
    if problems:
        raise ConfigError(*problems)
    return Registry(made for made, _ in tools.values())


def _import(path: Path, name: str, problems: list[str]) -> ModuleType | None:
    spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        problems.append(f"{path}: no such Python file; correct tools.files")
        return None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        problems.append(f"{path}:{_line(error, path)}: {type(error).__name__}: {_message(error)}")
        return None
    return module


def _tools_in(module: ModuleType, path: Path, problems: list[str]) -> Iterable[Tool]:
    for function in list(vars(module).values()):
        if inspect.isfunction(function) and hasattr(function, _MARK) and function.__module__ == module.__name__:
            try:
                yield make_tool(function)
            except UnsupportedHint as error:
                line = function.__code__.co_firstlineno
                problems.append(f"{path}:{line}: tool {function.__name__} {error}")


def _line(error: BaseException, path: Path) -> int:
    """The line of the user's file at which `error` arose."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1


def _message(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error).replace("\n", " ")
