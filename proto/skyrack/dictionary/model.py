"""What an entry of the dictionary holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from skyrack.limits import Limits


class Kind(Enum):
    """What sort of value a field carries."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUM = "enum"
    TEXT = "text"
    BYTES = "bytes"
    MESSAGE = "message"

    @property
    def numeric(self) -> bool:
        """Can be stored, plotted and limited as a number."""
        return self in (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN, Kind.ENUM)


@dataclass(frozen=True, slots=True)
class TelemetryField:
    """One field of telemetry: ``PowerStatus.loads.draw_watts``, told apart by the label ``load``."""

    name: str
    message: str
    path: str
    kind: Kind
    unit: str
    description: str
    limits: Limits
    label: bool
    labels: tuple[str, ...]
    choices: tuple[tuple[int, str], ...] = ()

    @property
    def counter(self) -> bool:
        """Only grows, save when its source starts anew."""
        return self.path.endswith("_total")


@dataclass(frozen=True, slots=True)
class TelemetryMessage:
    """A message that a service publishes. An empty ``publisher`` means that any service may."""

    name: str
    full_name: str
    description: str
    publisher: str
    state: bool
    stream: int
    type: type[Message]
    fields: tuple[TelemetryField, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command; ranges are inclusive."""

    name: str
    kind: Kind
    description: str
    required: bool
    minimum: float | None
    maximum: float | None
    repeated: bool = False
    choices: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rpc:
    """One request that an on-board service answers. An empty ``on_board`` means that every service does."""

    name: str
    on_board: str
    request: type[Message]
    response: type[Message]


@dataclass(frozen=True, slots=True)
class Command:
    """A request that a person may send from the ground."""

    rpc: Rpc
    significance: int
    description: str
    arguments: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """Name of the rpc: ``SetLoadSwitch``."""
        return self.rpc.name


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a service, in its unit; the range is inclusive."""

    name: str
    message: str
    kind: Kind
    unit: str
    description: str
    minimum: float
    maximum: float
    default: float


def kind_of(field: Any) -> Kind:
    """Kind of a field, from its protobuf descriptor."""
    if field.message_type is not None:
        return Kind.MESSAGE
    if field.enum_type is not None:
        return Kind.ENUM
    kinds = {
        field.CPPTYPE_BOOL: Kind.BOOLEAN,
        field.CPPTYPE_DOUBLE: Kind.NUMBER,
        field.CPPTYPE_FLOAT: Kind.NUMBER,
    }
    if field.cpp_type == field.CPPTYPE_STRING:
        return Kind.BYTES if field.type == field.TYPE_BYTES else Kind.TEXT
    return kinds.get(field.cpp_type, Kind.INTEGER)


def choices_of(field: Any) -> tuple[tuple[int, str], ...]:
    """Numbers and names of an enumeration, without the zero that stands for "not given"."""
    if field.enum_type is None:
        return ()
    return tuple((value.number, value.name) for value in field.enum_type.values if value.number != 0)
