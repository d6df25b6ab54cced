"""What msgspec says about a file that does not fit, in words for the person who wrote the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import inspect

_LOCATED = re.compile(r"^(?P<problem>.*?)(?: - at (?P<in_key>key in )?`(?P<path>\$.*?)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_EXPECTED = re.compile(r"Expected `(?P<type>[^`]+)`(?:, got `(?P<got>[^`]+)`)?(?P<bound> .*)?")
_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date and time",
    "null": "left out",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a file went wrong and what would be right."""

    key: str
    value: object
    problem: str
    unknown_name: str | None = None
    known_names: tuple[str, ...] = ()


def explain(message: str, data: object, expected: Any) -> Explanation:
    """Turn the text of a ``msgspec.ValidationError`` into an explanation."""
    located = _LOCATED.match(message)
    if located is None:
        return Explanation("", None, message)
    problem = located["problem"]
    key, value, here = _walk(located["path"] or "$", data, inspect.type_info(expected))
    unknown = _UNKNOWN.fullmatch(problem)
    if unknown:
        name = unknown["name"]
        return Explanation(_join(key, name), _member(value, name), "there is no such key", name, _names(here))
    missing = _MISSING.fullmatch(problem)
    if missing:
        return Explanation(_join(key, missing["name"]), None, "this key is missing and must be given")
    choices = _choices(here)
    if problem.startswith("Invalid enum value") and choices:
        return Explanation(key, value, f"must be one of {choices}")
    wanted = _EXPECTED.fullmatch(problem)
    if wanted:
        words = " or ".join(_WORDS.get(part.strip(), part.strip()) for part in wanted["type"].split("|"))
        bound = wanted["bound"] or ""
        return Explanation(key, value, f"must be {words}{bound}")
    return Explanation(key, None if isinstance(value, dict) else value, problem)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _member(value: object, name: str) -> object:
    found = value.get(name) if isinstance(value, dict) else None
    return None if isinstance(found, (dict, list)) else found


def _unwrap(info: inspect.Type | None) -> tuple[inspect.Type, ...]:
    """Alternatives behind metadata and unions."""
    if isinstance(info, inspect.Metadata):
        return _unwrap(info.type)
    if isinstance(info, inspect.UnionType):
        return tuple(alternative for member in info.types for alternative in _unwrap(member))
    return () if info is None else (info,)


def _names(info: inspect.Type | None) -> tuple[str, ...]:
    structs = [t for t in _unwrap(info) if isinstance(t, inspect.StructType)]
    return tuple(field.encode_name for struct in structs for field in struct.fields)


def _choices(info: inspect.Type | None) -> str:
    values: list[object] = []
    for alternative in _unwrap(info):
        if isinstance(alternative, inspect.EnumType):
            values += [member.value for member in alternative.cls]
        elif isinstance(alternative, inspect.LiteralType):
            values += alternative.values
    return ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)


def _field_type(info: inspect.Type | None, name: str) -> inspect.Type | None:
    for alternative in _unwrap(info):
        if isinstance(alternative, inspect.StructType):
            for field in alternative.fields:
                if field.encode_name == name:
                    return field.type
        if isinstance(alternative, inspect.DictType):
            return alternative.value_type
    return None


def _item_type(info: inspect.Type | None) -> inspect.Type | None:
    for alternative in _unwrap(info):
        if isinstance(alternative, (inspect.ListType, inspect.VarTupleType, inspect.SetType)):
            return alternative.item_type
        if isinstance(alternative, inspect.DictType):
            return alternative.value_type
    return None


def _offender(table: dict[str, Any], item: inspect.Type | None) -> str:
    """Name the first entry that does not fit by itself: msgspec does not say which entry of a table was wrong."""
    for alternative in _unwrap(item):
        cls: Any = getattr(alternative, "cls", None)
        for name, value in table.items():
            try:
                msgspec.convert(value, cls if cls is not None else _plain(item))
            except msgspec.ValidationError:
                return name
    return next(iter(table), "")


def _plain(item: inspect.Type | None) -> Any:
    scalars: dict[type[inspect.Type], Any] = {
        inspect.FloatType: float,
        inspect.IntType: int,
        inspect.StrType: str,
        inspect.BoolType: bool,
    }
    for alternative in _unwrap(item):
        base = scalars.get(type(alternative))
        if base is None:
            continue
        bounds = {
            bound: getattr(alternative, bound)
            for bound in ("gt", "ge", "lt", "le", "min_length", "max_length", "pattern")
            if getattr(alternative, bound, None) is not None
        }
        return Annotated[base, msgspec.Meta(**bounds)] if bounds else base
    return Any


def _walk(path: str, data: object, info: inspect.Type | None) -> tuple[str, object, inspect.Type | None]:
    key = ""
    here: object = data
    for step in _STEP.finditer(path):
        if step["name"]:
            key = _join(key, step["name"])
            here = here.get(step["name"]) if isinstance(here, dict) else None
            info = _field_type(info, step["name"])
        elif step["index"]:
            index = int(step["index"])
            key = f"{key}[{index}]"
            here = here[index] if isinstance(here, list) and index < len(here) else None
            info = _item_type(info)
        elif isinstance(here, dict):
            info = _item_type(info)
            name = _offender(here, info)
            key = _join(key, name)
            here = here.get(name)
    return key, here, info
