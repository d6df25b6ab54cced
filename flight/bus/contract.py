"""What the bus must know of a message: its rpc, its publisher, whether newcomers get its last value."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from skyrack import dictionary
from skyrack.v1 import options_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from skyrack.dictionary import Rpc


def rpc_for(service: str, request_type: type[Message]) -> Rpc:
    """The rpc of ``service`` that takes such a request.

    Raises:
        LookupError: there is none; the message is a sentence.
    """
    found = _rpcs_by_request().get((service, request_type)) or _rpcs_by_request().get(("", request_type))
    if found is None:
        name = request_type.DESCRIPTOR.full_name
        raise LookupError(f"{service} has no command that takes a {name}; its .proto service would declare one")
    return found


def rpc_named(service: str, name: str) -> Rpc:
    """The rpc ``SetLoadSwitch`` of ``service``.

    Raises:
        LookupError: there is none; the message is a sentence.
    """
    for rpc in dictionary.rpcs():
        if rpc.name == name and rpc.on_board in ("", service):
            return rpc
    known = ", ".join(sorted(rpc.name for rpc in dictionary.rpcs() if rpc.on_board == service)) or "none"
    raise LookupError(f"the contract has no command {name} for {service}; it has {known}")


def publisher_of(message_type: type[Message]) -> str:
    """The on-board service that publishes such messages, or empty when every service may."""
    return str(_spec(message_type).publisher)


def is_state(message_type: type[Message]) -> bool:
    """Whether a newcomer gets the last value of such messages."""
    return bool(_spec(message_type).state)


def _spec(message_type: type[Message]) -> Any:
    descriptor: Any = message_type.DESCRIPTOR
    return descriptor.GetOptions().Extensions[options_pb2.message]


@lru_cache(maxsize=1)
def _rpcs_by_request() -> dict[tuple[str, type[Message]], Rpc]:
    return {(rpc.on_board, rpc.request): rpc for rpc in dictionary.rpcs()}
