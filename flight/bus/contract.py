"""Which rpc a request belongs to, from the descriptors."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

import skyrack.v1
from skyrack.v1 import options_pb2


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc: ``name`` is ``SetLoadSwitch``, ``full_name`` ``skyrack.v1.PowerCommands.SetLoadSwitch``.

    ``on_board`` is the service that answers, or empty when every service does.
    """

    name: str
    full_name: str
    on_board: str
    request_type: type[Message]
    response_type: type[Message]


@cache
def files() -> tuple[FileDescriptor, ...]:
    """Every file of the contract."""
    names = sorted(module.name for module in pkgutil.iter_modules(skyrack.v1.__path__) if module.name.endswith("_pb2"))
    return tuple(importlib.import_module(f"skyrack.v1.{name}").DESCRIPTOR for name in names)


@cache
def methods() -> tuple[Method, ...]:
    """Every rpc of the contract."""
    found = []
    for file in files():
        for service in file.services_by_name.values():
            on_board = service.GetOptions().Extensions[options_pb2.on_board]
            for method in service.methods:
                found.append(
                    Method(
                        method.name,
                        method.full_name,
                        on_board,
                        message_factory.GetMessageClass(method.input_type),
                        message_factory.GetMessageClass(method.output_type),
                    )
                )
    return tuple(found)


@cache
def method_for(service: str, request_type: type[Message]) -> Method:
    """The rpc of ``service`` that takes such a request. Raises LookupError, with a sentence, when there is none."""
    for method in methods():
        if method.request_type is request_type and method.on_board in ("", service):
            return method
    name = request_type.DESCRIPTOR.full_name
    raise LookupError(f"{service} has no command that takes a {name}; the .proto service with on_board declares them")


@cache
def message_type(full_name: str) -> type[Message]:
    """Class of a message of the contract. Raises LookupError when it has none of that name."""
    files()
    try:
        return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))
    except KeyError:
        raise LookupError(f"the contract has no message {full_name}") from None


@cache
def publisher_of(message_type: type[Message]) -> str:
    """The on-board service that publishes such messages, or empty when every service may."""
    return str(message_type.DESCRIPTOR.GetOptions().Extensions[options_pb2.message].publisher)


@cache
def is_state(message_type: type[Message]) -> bool:
    """Whether a newcomer gets the last value of such messages."""
    return bool(message_type.DESCRIPTOR.GetOptions().Extensions[options_pb2.message].state)
