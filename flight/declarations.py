"""What a service declares of itself: its rate groups, subscriptions and commands.

The decorators only mark methods; :func:`declarations_of` reads the marks, for the service that runs and for the
topology that is drawn.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from flight.bus.contract import publisher_of, rpc_named
from skyrack.dictionary import Rpc

F = TypeVar("F", bound=Callable[..., Any])

ALL = "*"
"""As the source of a subscription: every service of the satellite, this one included."""

_MARK = "_skyrack_declarations"


@dataclass(frozen=True, slots=True)
class RateGroup:
    """A method that runs every so many mission seconds."""

    method: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Subscription:
    """A method that hears a type of message; ``arguments`` is how many of message, header, key it takes."""

    method: str
    message_type: type[Message]
    sources: tuple[str, ...]
    key: str | None
    arguments: int


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """A method that answers an rpc; ``arguments`` is how many of request, header it takes."""

    method: str
    rpc: Rpc
    arguments: int


@dataclass(frozen=True, slots=True)
class Declarations:
    """All that a service declares, in the order of its source."""

    rate_groups: tuple[RateGroup, ...]
    subscriptions: tuple[Subscription, ...]
    commands: tuple[CommandHandler, ...]


def every(seconds: float) -> Callable[[F], F]:
    """Run this method, sync or async, every so many mission seconds, in step with the service's start.

    A run that lasts past its next start is an overrun: the starts missed are skipped and counted, and an event tells.
    """
    if seconds <= 0:
        raise ValueError(f"@every({seconds}): the period must be above 0 s")
    return lambda method: _mark(method, ("every", seconds))


def subscribe(
    message_type: type[Message], *, source: str | tuple[str, ...] = (), key: str | None = None
) -> Callable[[F], F]:
    """Call this method, sync or async, with each such message: ``(message)``, ``(message, header)`` or with ``key``.

    The contract says which service publishes it. For messages that every service publishes (Health, Event) name the
    ``source``: a service, several, or ``ALL``.
    """
    sources = (source,) if isinstance(source, str) else tuple(source)
    sources = sources or tuple(filter(None, [publisher_of(message_type)]))
    if not sources:
        name = message_type.DESCRIPTOR.name
        raise ValueError(f"@subscribe({name}): the contract names no publisher; give source, a service's name or ALL")
    return lambda method: _mark(method, ("subscribe", message_type, sources, key))


def command(method: F) -> F:
    """Answer the rpc of this name (``set_load_switch`` is SetLoadSwitch): ``(request)`` or ``(request, header)``.

    Arguments are checked against the contract before the method is called.
    """
    return _mark(method, ("command",))


def declarations_of(service_class: type) -> Declarations:
    """Read a service's declarations. Raises LookupError when it has a command that the contract does not have."""
    rate_groups, subscriptions, commands = [], [], []
    name = service_class.name  # type: ignore[attr-defined]
    for method, function in _methods(service_class).items():
        for kind, *values in getattr(function, _MARK, ()):
            arguments = len(inspect.signature(function).parameters) - 1
            if kind == "every":
                rate_groups.append(RateGroup(method, *values))
            elif kind == "subscribe":
                message_type, sources, key = values
                subscriptions.append(Subscription(method, message_type, sources, key, arguments))
            else:
                rpc = rpc_named(name, "".join(word.capitalize() for word in method.split("_")))
                commands.append(CommandHandler(method, rpc, arguments))
    return Declarations(tuple(rate_groups), tuple(subscriptions), tuple(commands))


def _methods(service_class: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(service_class.__mro__):
        found.update({name: value for name, value in vars(base).items() if callable(value)})
    return found


def _mark(method: F, mark: tuple[Any, ...]) -> F:
    method.__dict__.setdefault(_MARK, []).append(mark)
    return method
