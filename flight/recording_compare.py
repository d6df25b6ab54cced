"""Where two recordings part: the first message that differs, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from flight.recording import Record, read_recording
from skyrack.logging import mission_time_text


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field that differs; a side that lacks it is None."""

    name: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """The first message that differs: its index from 0, what each side has there, and the fields that differ.

    A side that has ended is None.
    """

    index: int
    left: Record | None
    right: Record | None
    fields: tuple[FieldDifference, ...]


def first_difference(left: Path | str, right: Path | str) -> Difference | None:
    """Compare two recordings message by message; None when they are equal.

    Raises:
        UserError: one of the files is no recording.
    """
    for index, (one, other) in enumerate(zip_longest(read_recording(left), read_recording(right))):
        if one != other:
            return Difference(index, one, other, _fields(one, other))
    return None


def count_records(path: Path | str) -> int:
    """Number of whole messages in a recording."""
    return sum(1 for _ in read_recording(path))


def describe(record: Record | None) -> str:
    """One message in a few words: when, where, what."""
    if record is None:
        return "the end of the recording"
    header = record.read_header()
    name, key = record.name_and_key()
    instance = f" {key}" if key else ""
    where = f"{record.satellite}/{header.source}" if record.satellite else header.source
    return f"{mission_time_text(header.mission_time_seconds)} {where} {name}{instance} #{header.sequence}"


def as_dict(record: Record) -> dict[str, Any]:
    """Everything of one message as plain values, under the contract's own field names."""
    header = record.read_header()
    name, key = record.name_and_key()
    message = record.read_message()
    return {
        "satellite": record.satellite,
        "source": header.source,
        "incarnation": header.incarnation,
        "sequence": header.sequence,
        "mission_time_seconds": header.mission_time_seconds,
        "message": name,
        "key": key,
        "fields": message_dict(message) if isinstance(message, Message) else record.payload.hex(),
    }


def message_dict(message: Message) -> dict[str, Any]:
    """A message as plain values; fields at zero stand there too."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _fields(left: Record | None, right: Record | None) -> tuple[FieldDifference, ...]:
    if left is None or right is None:
        return ()
    one, other = _flat("", as_dict(left)), _flat("", as_dict(right))
    names = [*one, *(name for name in other if name not in one)]
    found = [
        FieldDifference(name.removeprefix("fields."), one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]
    if not found:
        found = [FieldDifference("bytes", left.payload.hex(), right.payload.hex())]
    return tuple(found)


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(f"{prefix}.{name}" if prefix else name, member) for name, member in value.items()]
    elif isinstance(value, list):
        items = [(f"{prefix}[{index}]", member) for index, member in enumerate(value)]
    else:
        return {prefix: value}
    return {name: leaf for path, member in items for name, leaf in _flat(path, member).items()}
