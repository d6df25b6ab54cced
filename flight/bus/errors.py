"""What can go wrong with a request on the bus."""

from __future__ import annotations


class BusError(Exception):
    """Base of the bus's errors."""


class RequestTimeoutError(BusError, TimeoutError):
    """The service did not answer in time: it is dead, unreachable, or too slow."""


class RequestRefusedError(BusError):
    """The service answered that it will not do this; the message is its reason.

    A command handler may raise it to refuse with a sentence.
    """


class EndpointError(BusError, ValueError):
    """An address of the bus cannot be used."""


RequestTimeout = RequestTimeoutError
RequestRefused = RequestRefusedError
