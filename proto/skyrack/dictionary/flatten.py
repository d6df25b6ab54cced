"""Telemetry messages as flat samples, by accessors made once per message type: the ground's hot path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from skyrack.dictionary.model import kind_of
from skyrack.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

Sample = tuple[str, tuple[str, ...], float]
"""Field name ("PowerStatus.loads.draw_watts"), label values (("node-1",)), value; booleans and enums as numbers."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one message type is read: values that are always there, values with presence, messages inside."""

    names: tuple[str, ...]
    values: Callable[[Any], tuple[float, ...]]
    labels: Callable[[Any], tuple[str, ...]] | None
    optional: tuple[tuple[str, str], ...]
    single: tuple[tuple[str, _Plan], ...]
    repeated: tuple[tuple[str, _Plan], ...]

    def read(self, message: Any, labels: tuple[str, ...], out: list[Sample]) -> None:
        if self.labels is not None:
            labels = labels + self.labels(message)
        out += zip(self.names, repeat(labels), self.values(message))
        for attribute, name in self.optional:
            if message.HasField(attribute):
                out.append((name, labels, getattr(message, attribute)))
        for attribute, plan in self.single:
            if message.HasField(attribute):
                plan.read(getattr(message, attribute), labels, out)
        for attribute, plan in self.repeated:
            for item in getattr(message, attribute):
                plan.read(item, labels, out)


def _getter(attributes: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Like attrgetter, and a tuple for any number of attributes."""
    if not attributes:
        return lambda _: ()
    get = attrgetter(*attributes)
    return (lambda message: (get(message),)) if len(attributes) == 1 else get


def _compile(descriptor: Any, prefix: str) -> _Plan:
    labels: list[str] = []
    always: list[str] = []
    optional: list[tuple[str, str]] = []
    single: list[tuple[str, _Plan]] = []
    repeated: list[tuple[str, _Plan]] = []
    for field in descriptor.fields:
        spec = field.GetOptions().Extensions[options_pb2.field]
        if field.message_type is not None:
            labelled = any(f.GetOptions().Extensions[options_pb2.field].label for f in field.message_type.fields)
            if prefix.count(".") < 4 and (labelled or not field.is_repeated):
                plan = _compile(field.message_type, f"{prefix}{field.name}.")
                if plan.names or plan.optional or plan.single or plan.repeated:
                    (repeated if field.is_repeated else single).append((field.name, plan))
        elif spec.label:
            labels.append(field.name)
        elif field.is_repeated or not field.GetOptions().HasExtension(options_pb2.field):
            continue
        elif kind_of(field).numeric:
            if field.has_presence:
                optional.append((field.name, prefix + field.name))
            else:
                always.append(field.name)
    return _Plan(
        names=tuple(prefix + name for name in always),
        values=_getter(always),
        labels=_getter(labels) if labels else None,
        optional=tuple(optional),
        single=tuple(single),
        repeated=tuple(repeated),
    )


@cache
def _plan(message: Any) -> _Plan:
    return _compile(message.DESCRIPTOR, f"{message.DESCRIPTOR.name}.")


def samples(message: Message) -> list[Sample]:
    """Every number, boolean and enumeration of a telemetry message; what is not set is left out."""
    out: list[Sample] = []
    kind: Any = type(message)
    _plan(kind).read(message, (), out)
    return out
