"""Settings from their layers, with the origin of each, and every mistake at once.

Later layers win: defaults, the profile (`profile = "kiosk"`), /etc/device-agent/config.toml,
/etc/device-agent/conf.d/*.toml, the user's config.toml, the environment (`DEVICE_AGENT_<SECTION>_<KEY>`), the command
line (`--set section.key=value`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from device_agent.config.checks import contradictions
from device_agent.config.convert import SECRET_REMEDY, convert, from_text, holds_secret
from device_agent.config.options import options, sections
from device_agent.config.paths import Paths, profiles
from device_agent.config.schema import Settings
from device_agent.config.secrets import redacted
from device_agent.errors import ConfigError
from device_agent.records import record

TELLING = ("panel", "lights", "audio", "sounds", "control", "log")
"""The sections by which the device shows and says how it is."""
_PREFIX = "DEVICE_AGENT_"
_HERE = Path()
_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.-]+)\s*=")


@record
class Loaded:
    """The effective settings, where each comes from (by dotted name), and the files that were read."""

    settings: Settings
    origins: Mapping[str, str]
    files: tuple[Path, ...]


@record
class _Merged:
    """All layers as one, and what is wrong with any of them."""

    values: dict[str, Any]
    origins: dict[str, str]
    documents: dict[Path, str]
    problems: list[str]


@record
class _Given:
    """One setting as one layer gives it; a name without a dot is a section that cannot be taken apart."""

    name: str
    raw: Any
    origin: str
    base: Path


def load(paths: Paths | None, environ: Mapping[str, str], sets: Sequence[str] = ()) -> Loaded:
    """Merge all layers; without `paths`, those in the usual places.

    Raises `ConfigError` with every problem of every layer, also of settings that a later layer overrides.
    """
    merged = _merge(paths or Paths.standard(environ), environ, sets)
    if merged.problems:
        raise ConfigError(*(redacted(problem) for problem in merged.problems))
    return Loaded(_assemble(merged.values), merged.origins, tuple(merged.documents))


def salvage(paths: Paths, environ: Mapping[str, str], sets: Sequence[str] = ()) -> Settings:
    """What a device needs to show and say that its configuration is wrong, as far as that can be understood."""
    merged = _merge(paths, environ, sets)
    kept = {name: value for name, value in merged.values.items() if name.partition(".")[0] in TELLING}
    for names, _ in contradictions(_assemble(kept)):
        kept = {name: value for name, value in kept.items() if name not in names}
    return _assemble(kept)


def fingerprint(paths: Paths) -> tuple[tuple[Path, int, int], ...]:
    """Changes with any of the files that `load` reads, or may read."""
    places = [paths.system / "conf.d", *_files(paths, [])]
    return tuple((place, status.st_ctime_ns, status.st_ino) for place in places if (status := _status(place)))


def _status(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except OSError:
        return None


def _merge(paths: Paths, environ: Mapping[str, str], sets: Sequence[str]) -> _Merged:
    problems: list[str] = []
    documents = _documents(paths, problems)
    given = [item for file, text in documents.items() for item in _from_file(file, text, problems)]
    given += _from_environment(environ)
    given += _from_sets(sets, problems)
    chosen, given = _profile(given, problems)
    values: dict[str, Any] = {}
    origins = dict.fromkeys(options(), "default")
    broken = set()
    for item in given:
        try:
            values[item.name] = _value(item)
            origins[item.name] = item.origin
        except ValueError as error:
            broken.add(item.name)
            problems.append(f"{item.origin}: {error}")
    for names, text in contradictions(_assemble(values)):
        if not broken & set(names):
            places = dict.fromkeys(origins[name] for name in names if origins[name] != "default")
            problems.append(f"{', '.join(places)}: {text}")
    return _Merged(values, origins, chosen | documents, problems)


def _documents(paths: Paths, problems: list[str]) -> dict[Path, str]:
    """The text of each configuration file that exists, in the order of the layers."""
    texts = {}
    for file in _files(paths, problems):
        try:
            texts[file] = file.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            if file == paths.only:
                problems.append(f"{file}: there is no such file")
        except UnicodeDecodeError:
            problems.append(f"{file}: is not UTF-8 text")
        except (OSError, ValueError) as error:
            problems.append(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}")
    return texts


def _files(paths: Paths, problems: list[str]) -> list[Path]:
    if paths.only is not None:
        return [paths.only]
    directory = paths.system / "conf.d"
    try:
        extra = sorted(file for file in directory.iterdir() if file.suffix == ".toml")
    except (FileNotFoundError, NotADirectoryError):
        extra = []
    except OSError as error:
        extra = []
        problems.append(f"{directory}: cannot be read: {error.strerror}")
    return list(dict.fromkeys([paths.system / "config.toml", *extra, paths.config]))


def _from_file(file: Path, text: str, problems: list[str]) -> Iterator[_Given]:
    import tomllib

    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(f"{file}: is not TOML: {error}")
        return
    for section, table in document.items():
        if section not in sections() or not isinstance(table, dict):
            yield _Given(section, table, _place(file, text, section), file.parent)
            continue
        for key, raw in table.items():
            yield _Given(f"{section}.{key}", raw, _place(file, text, f"{section}.{key}"), file.parent)


def _place(file: Path, text: str, name: str) -> str:
    """File and line of a setting or section, or the file alone where it stands in an inline table.

    tomllib keeps no line numbers. Looking for the name can only mislead inside a text of several lines.
    """
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = found = header[1]
        elif key := _KEY.match(line):
            found = f"{table}.{key[1]}".lstrip(".")
        else:
            continue
        if f"{found}.".startswith(f"{name}."):
            return f"{file}:{number}"
    return str(file)


def _profile(given: list[_Given], problems: list[str]) -> tuple[dict[Path, str], list[_Given]]:
    """What `profile = "NAME"` adds below all other layers: its file, and its settings before the others."""
    named = [item for item in given if item.name.rstrip(".") == "profile"]
    rest = [item for item in given if item not in named]
    if not named:
        return {}, rest
    there = profiles()
    file = there.get(str(named[-1].raw))
    if file is None:
        names = ", ".join(sorted(there)) or "none on this machine"
        problems.append(f"{named[-1].origin}: there is no such profile; there are {names}")
        return {}, rest
    text = file.read_text("utf-8")
    return {file: text}, [*_from_file(file, text, problems), *rest]


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable, text in environ.items():
        if variable.startswith(_PREFIX):
            section, _, key = variable.removeprefix(_PREFIX).lower().partition("_")
            yield _given(f"{section}.{key}", text, "environment")


def _from_sets(sets: Sequence[str], problems: list[str]) -> Iterator[_Given]:
    for assignment in sets:
        name, equals, text = assignment.partition("=")
        if equals:
            yield _given(name.strip(), text, "--set")
        else:
            problems.append("--set: must be followed by section.key=value")


def _given(name: str, text: str, origin: str) -> _Given:
    return _Given(name, from_text(options()[name], text) if name in options() else text, origin, _HERE)


def _value(given: _Given) -> Any:
    """The converted value; raises `ValueError` with the text of the problem."""
    if holds_secret(given.name, given.raw):
        raise ValueError(f"{given.name} {SECRET_REMEDY}")
    if given.name not in options():
        raise ValueError(_unknown(given.name))
    try:
        return convert(options()[given.name], given.raw, given.base)
    except ValueError as error:
        raise ValueError(f"{given.name} {error}") from None


def _unknown(name: str) -> str:
    """Why there is no such setting, and which one may be meant."""
    from difflib import get_close_matches

    section, _, key = name.partition(".")
    own = [option.name for option in options().values() if option.section == section]
    if name == section and own:
        return f"{name} is a section with settings such as {own[0]}"
    elsewhere = [option.name for option in options().values() if option.key == (key or name)]
    near = elsewhere or (get_close_matches(name, own, 1) if own else get_close_matches(section, sections(), 1))
    hint = f"did you mean {near[0]}?" if near else f"allowed: {', '.join(own or sections())}"
    return f"unknown setting {name!r}; {hint}" if own else f"unknown section {section!r}; {hint}"


def _assemble(values: Mapping[str, Any]) -> Settings:
    parts = {}
    for section, cls in sections().items():
        own = {option.key: values[n] for n, option in options().items() if option.section == section and n in values}
        parts[section] = cls(**own)
    return Settings(**parts)
