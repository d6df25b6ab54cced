"""The contract, read from the descriptors of the generated modules."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from google.protobuf.message_factory import GetMessageClass

import skyrack.v1
from skyrack.dictionary.model import (
    Argument,
    Command,
    Kind,
    Parameter,
    Rpc,
    TelemetryField,
    TelemetryMessage,
    choices_of,
    kind_of,
)
from skyrack.limits import NONE, Limits, LimitSet
from skyrack.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

SIDES = ("red_low", "yellow_low", "yellow_high", "red_high")


@cache
def _files() -> tuple[Any, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(skyrack.v1.__path__))
    modules = [import_module(f"skyrack.v1.{name}") for name in names if name.endswith("_pb2")]
    return tuple(module.DESCRIPTOR for module in modules)


def _messages() -> Iterator[Any]:
    for file in _files():
        yield from file.message_types_by_name.values()


@cache
def message_type(name: str) -> type[Message]:
    """Class of a message by its short or full name.

    Raises:
        KeyError: the contract has no such message.
    """
    short = name.removeprefix("skyrack.v1.")
    for file in _files():
        if short in file.message_types_by_name:
            found: type[Message] = GetMessageClass(file.message_types_by_name[short])
            return found
    raise KeyError(name)


def read_limits(message: options_pb2.Limits) -> Limits:
    """Limits from their message, as in a field's option and in a command that overrides them."""
    return Limits(**{side: getattr(message, side) if message.HasField(side) else None for side in SIDES})


def write_limits(limits: Limits) -> options_pb2.Limits:
    """Limits as a message."""
    return options_pb2.Limits(**{side: value for side, value in limits.items() if value is not None})


def _walk(descriptor: Any, message: str, prefix: str, labels: tuple[str, ...]) -> Iterator[TelemetryField]:
    own = tuple(f.name for f in descriptor.fields if f.GetOptions().Extensions[options_pb2.field].label)
    labels = labels + own
    for field in descriptor.fields:
        path = f"{prefix}{field.name}"
        if field.message_type is not None:
            # A repeated message whose instances have no label cannot be told apart: a profile, not telemetry fields.
            labelled = any(f.GetOptions().Extensions[options_pb2.field].label for f in field.message_type.fields)
            if prefix.count(".") < 3 and (labelled or not field.is_repeated):  # a message may hold itself
                yield from _walk(field.message_type, message, f"{path}.", labels)
            continue
        options = field.GetOptions()
        if field.is_repeated or not options.HasExtension(options_pb2.field):
            continue
        spec = options.Extensions[options_pb2.field]
        yield TelemetryField(
            name=f"{message}.{path}",
            message=message,
            path=path,
            kind=kind_of(field),
            unit=spec.unit,
            description=spec.description,
            limits=read_limits(spec.limits),
            label=spec.label,
            labels=labels,
            choices=choices_of(field),
        )


@cache
def telemetry() -> Mapping[str, TelemetryMessage]:
    """Messages that services publish, by short name."""
    found = {}
    for descriptor in _messages():
        options = descriptor.GetOptions()
        if not options.HasExtension(options_pb2.message):
            continue
        spec = options.Extensions[options_pb2.message]
        found[descriptor.name] = TelemetryMessage(
            name=descriptor.name,
            full_name=descriptor.full_name,
            description=spec.description,
            publisher=spec.publisher,
            state=spec.state,
            stream=spec.downlink,
            type=GetMessageClass(descriptor),
            fields=tuple(_walk(descriptor, descriptor.name, "", ())),
        )
    return MappingProxyType(found)


@cache
def telemetry_fields() -> Mapping[str, TelemetryField]:
    """All telemetry fields by name ("PowerStatus.loads.draw_watts")."""
    return MappingProxyType({field.name: field for message in telemetry().values() for field in message.fields})


@cache
def default_limits() -> LimitSet:
    """The dictionary's limits, with no overrides; every numeric field can be overridden."""
    fields = telemetry_fields().values()
    return LimitSet(MappingProxyType({f.name: f.limits or NONE for f in fields if f.kind.numeric and not f.label}))


@cache
def rpcs() -> tuple[Rpc, ...]:
    """Every request that on-board services answer."""
    return tuple(rpc for rpc, _ in _methods())


def _methods() -> Iterator[tuple[Rpc, Any]]:
    for file in _files():
        for service in file.services_by_name.values():
            on_board = service.GetOptions().Extensions[options_pb2.on_board]
            for method in service.methods:
                request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
                yield Rpc(method.name, on_board, request, response), method.GetOptions()


@cache
def commands() -> Mapping[str, Command]:
    """Requests that a person may send, by name."""
    found = {}
    for rpc, options in _methods():
        if options.HasExtension(options_pb2.command):
            spec = options.Extensions[options_pb2.command]
            found[rpc.name] = Command(rpc, spec.significance, spec.description, arguments_of(rpc.request))
    return MappingProxyType(found)


def arguments_of(request: type[Message]) -> tuple[Argument, ...]:
    """Arguments of a request's message type."""
    return _arguments(request.DESCRIPTOR)


@cache
def _arguments(descriptor: Any) -> tuple[Argument, ...]:
    return tuple(_argument(field) for field in descriptor.fields)


def _argument(field: Any) -> Argument:
    spec = field.GetOptions().Extensions[options_pb2.argument]
    return Argument(
        name=field.name,
        kind=kind_of(field),
        description=spec.description,
        required=spec.required,
        minimum=spec.minimum if spec.HasField("minimum") else None,
        maximum=spec.maximum if spec.HasField("maximum") else None,
        repeated=field.is_repeated,
        choices=choices_of(field),
    )


def parameters_of(message: type[Message]) -> tuple[Parameter, ...]:
    """Parameters that a message type declares."""
    return _parameters(message.DESCRIPTOR)


@cache
def _parameters(descriptor: Any) -> tuple[Parameter, ...]:
    found = []
    for field in descriptor.fields:
        options = field.GetOptions()
        if options.HasExtension(options_pb2.parameter):
            spec = options.Extensions[options_pb2.parameter]
            parameter = Parameter(
                name=field.name,
                message=descriptor.name,
                kind=kind_of(field),
                unit=spec.unit,
                description=spec.description,
                minimum=spec.minimum,
                maximum=spec.maximum,
                default=spec.default,
            )
            found.append(parameter)
    return tuple(found)


@cache
def parameters() -> tuple[Parameter, ...]:
    """Parameters of all services."""
    return tuple(parameter for descriptor in _messages() for parameter in _parameters(descriptor))


__all__ = [
    "Kind",
    "arguments_of",
    "commands",
    "default_limits",
    "message_type",
    "parameters",
    "parameters_of",
    "read_limits",
    "rpcs",
    "telemetry",
    "telemetry_fields",
    "write_limits",
]
