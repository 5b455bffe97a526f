"""Type hints of a tool's parameters ↔ the JSON Schema that the agent's service wants."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


class UnsupportedHint(TypeError):
    """A type hint that has no form in the schema. `str()` says which, and what would do instead."""


def schema_of(hint: Any, name: str) -> Schema:
    """The schema of one value. `Annotated[…, "text"]` describes it; without that its `name` does."""
    text = name.replace("_", " ")
    hint = without_none(hint)
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        text = next((note for note in notes if isinstance(note, str)), text)
    return {"description": text, **_shape(without_none(hint), name)}


def object_schema(hints: Mapping[str, Any], required: list[str], description: str = "") -> Schema:
    """The schema of an object with these members."""
    members = {name: schema_of(hint, name) for name, hint in hints.items()}
    return {"type": "object", "description": description, "properties": members, "required": required}


def without_none(hint: Any) -> Any:
    """`X` for `X | None` and `Optional[X]`; other hints as they are."""
    if get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        rest = [arm for arm in get_args(hint) if arm is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


def _shape(hint: Any, name: str) -> Schema:
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if get_origin(hint) is Literal:
        return _choice(hint)
    if get_origin(hint) is list:
        return {"type": "array", "items": schema_of(get_args(hint)[0], name)}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        fields = dataclasses.fields(hint)
        required = [
            f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        hints = get_type_hints(hint, include_extras=True)
        return _without_description(object_schema({f.name: hints[f.name] for f in fields}, required))
    raise UnsupportedHint(
        f"{name}: {_readable(hint)} is not supported; use str, int, float, bool, Literal, list[…], "
        "a dataclass, or one of them with | None"
    )


def _choice(hint: Any) -> Schema:
    kinds = {type(value) for value in get_args(hint)}
    if len(kinds) != 1 or not kinds <= {str, int}:
        raise UnsupportedHint(f"{_readable(hint)} is not supported; a Literal holds only texts or only integers")
    return {"type": _PLAIN[kinds.pop()], "enum": list(get_args(hint))}


def _without_description(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "description"}


def _readable(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def dashboard_form(schema: Schema, name: str, required: bool = True) -> Schema:
    """The same as the ElevenLabs dashboard writes it in a tool's JSON: members are lists with an `id`."""
    form: Schema = {"id": name, "type": schema["type"], "description": schema["description"], "required": required}
    if schema["type"] == "object":
        return {**form, "properties": members_form(schema)}
    if schema["type"] == "array":
        return {**form, "items": dashboard_form(schema["items"], f"{name}_item")}
    return {
        **form,
        "value_type": "llm_prompt",
        "enum": schema.get("enum"),
        "constant_value": "",
        "dynamic_variable": "",
    }


def members_form(schema: Schema) -> list[Schema]:
    """The members of an object schema in the dashboard's form."""
    return [dashboard_form(member, name, name in schema["required"]) for name, member in schema["properties"].items()]
