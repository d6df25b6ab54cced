"""How a telemetry message is read into a row of numbers, and made again from one: worked out once per type.

A row belongs to a shape: the labels of the message and of the repeated messages in it, and which messages are in it at
all. Messages of one shape fill the same columns. A type is whole when labels and columns are all that it holds;
of others (profiles, texts) the payload has to be kept as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from google.protobuf.message import Message

from skyrack.dictionary import message_type, telemetry_fields
from skyrack.dictionary.model import kind_of
from skyrack.v1 import options_pb2

__all__ = ["Column", "Plan", "Shape", "plan_of"]

Shape = tuple[Any, ...]
"""(labels, shapes of the single messages inside or None, shapes of each of the repeated messages inside)."""

_DEPTH = 4
_NAN = math.nan


@dataclass(frozen=True, slots=True)
class Column:
    """One number of every message of a shape: ``PowerStatus.loads.draw_watts`` of the load ``node-1``."""

    field: str
    labels: tuple[str, ...]
    is_integer: bool = False

    @property
    def is_telemetry(self) -> bool:
        """Whether the dictionary tells what it means; the others serve to make the message again."""
        return self.field in telemetry_fields()


class Plan:
    """How one message type is read."""

    def __init__(self, descriptor: Any, prefix: str, depth: int = 0) -> None:
        self.prefix = prefix
        self.is_whole = True
        self.always: list[str] = []
        self.optional: list[str] = []
        self.integers: set[str] = set()
        self.label_names: list[str] = []
        self.single: list[tuple[str, Plan]] = []
        self.repeated: list[tuple[str, Plan]] = []
        for field in descriptor.fields:
            self._add(field, depth)
        self._values = _getter(self.always)
        self._labels = _getter(self.label_names)
        self.is_flat = not (self.optional or self.single or self.repeated)
        self.flat: Callable[[Any], tuple[Any, ...]] | None = (
            self._values if self.is_flat and not self.label_names else None
        )
        """Reads a message whose shape is always the same; None where there is more to it."""

    def _add(self, field: Any, depth: int) -> None:
        if field.message_type is not None:
            plan = Plan(field.message_type, f"{self.prefix}{field.name}.", depth + 1) if depth < _DEPTH else None
            if plan is None or (field.is_repeated and not plan.label_names):
                self.is_whole = False
                return
            self.is_whole &= plan.is_whole
            (self.repeated if field.is_repeated else self.single).append((field.name, plan))
        elif field.GetOptions().Extensions[options_pb2.field].label:
            self.label_names.append(field.name)
        elif field.is_repeated or not kind_of(field).numeric:
            self.is_whole = False
        else:
            if field.cpp_type not in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
                self.integers.add(field.name)
            (self.optional if field.has_presence else self.always).append(field.name)

    def read(self, message: Any) -> tuple[Shape, tuple[Any, ...]]:
        """Shape and row; what is not set is not a number."""
        if self.is_flat:
            return (self._labels(message), (), ()), self._values(message)
        row: list[Any] = []
        shape = self.read_into(message, row)
        return shape, tuple(row)

    def read_into(self, message: Any, row: list[Any]) -> Shape:
        """Append the row to one that is made; its shape."""
        row += self._values(message)
        for name in self.optional:
            row.append(getattr(message, name) if message.HasField(name) else _NAN)
        single: Shape = ()
        if self.single:
            single = tuple(
                [
                    plan.read_into(getattr(message, name), row) if message.HasField(name) else None
                    for name, plan in self.single
                ]
            )
        repeated: Shape = ()
        if self.repeated:
            repeated = tuple([plan.read_each(getattr(message, name), row) for name, plan in self.repeated])
        return self._labels(message), single, repeated

    def read_each(self, messages: Any, row: list[Any]) -> Shape:
        """The same of several; written out for flat ones, of which a message may hold many."""
        if not self.is_flat:
            return tuple([self.read_into(message, row) for message in messages])
        values, labels = self._values, self._labels
        shapes = []
        for message in messages:
            row += values(message)
            shapes.append((labels(message), (), ()))
        return tuple(shapes)

    def columns(self, shape: Shape, labels: tuple[str, ...] = ()) -> list[Column]:
        """What the numbers of a row mean, in their order."""
        labels = labels + tuple(shape[0])
        found = [
            Column(f"{self.prefix}{name}", labels, name in self.integers) for name in (*self.always, *self.optional)
        ]
        for (_, plan), inside in zip(self.single, shape[1], strict=True):
            if inside is not None:
                found += plan.columns(inside, labels)
        for (_, plan), instances in zip(self.repeated, shape[2], strict=True):
            for inside in instances:
                found += plan.columns(inside, labels)
        return found

    def write(self, message: Any, shape: Shape, row: list[float]) -> None:
        """Fill a message from a row, which is used up; the reverse of ``read`` for whole types."""
        for name, label in zip(self.label_names, shape[0], strict=True):
            setattr(message, name, label)
        for name in (*self.always, *self.optional):
            value = row.pop(0)
            if name in self.integers:
                if not math.isnan(value):
                    setattr(message, name, int(value))
            elif name in self.always or not math.isnan(value):
                setattr(message, name, value)
        for (name, plan), inside in zip(self.single, shape[1], strict=True):
            if inside is not None:
                getattr(message, name).SetInParent()
                plan.write(getattr(message, name), inside, row)
        for (name, plan), instances in zip(self.repeated, shape[2], strict=True):
            for inside in instances:
                plan.write(getattr(message, name).add(), inside, row)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    get = attrgetter(*names)
    return (lambda message: (get(message),)) if len(names) == 1 else get


@cache
def plan_of(name: str) -> tuple[type[Message], Plan]:
    """Type and plan of a message by its full name.

    Raises:
        KeyError: this ground does not know the message.
    """
    kind = message_type(name)
    descriptor = kind.DESCRIPTOR
    return kind, Plan(descriptor, f"{descriptor.name}.")
