"""Reads one field out of a telemetry message, by an accessor that is made once: the executive's hot path."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from skyrack.v1 import options_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

Values = list[tuple[str, float]]
"""Instance ("node-1"; labels from the outermost inwards, joined by "/"; empty when there are none) and value."""

Reader = Callable[[Any], Values]


def reader(message: type[Message], path: str) -> Reader:
    """Accessor of a field of the dictionary, by its path within the message: "loads.draw_watts".

    A field that has presence and is not set is left out.
    """
    return _compile(message.DESCRIPTOR, path.split("."))


def _compile(descriptor: Any, path: list[str]) -> Reader:
    name, *rest = path
    labels = [f.name for f in descriptor.fields if f.GetOptions().Extensions[options_pb2.field].label]
    inner = _inner(descriptor.fields_by_name[name], rest)
    if not labels:
        return inner
    own = [attrgetter(label) for label in labels]

    def labelled(message: Any) -> Values:
        label = "/".join([get(message) for get in own])
        return [(f"{label}/{instance}" if instance else label, value) for instance, value in inner(message)]

    return labelled


def _inner(field: Any, rest: list[str]) -> Reader:
    name, get = field.name, attrgetter(field.name)
    if rest:
        deeper = _compile(field.message_type, rest)
        if field.is_repeated:
            return lambda message: [found for item in get(message) for found in deeper(item)]
        return lambda message: deeper(get(message)) if message.HasField(name) else []
    if field.has_presence:
        return lambda message: [("", get(message))] if message.HasField(name) else []
    return lambda message: [("", get(message))]
