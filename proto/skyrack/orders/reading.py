"""Orders are read, and what contradicts itself is refused; whose they are is not asked here."""

from __future__ import annotations

import math
from typing import Final

from google.protobuf.message import DecodeError

from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import Order, SignedOrder

__all__ = [
    "CANCEL",
    "JOB",
    "KEYS",
    "MAXIMUM_ORDER_BYTES",
    "SEQUENCE",
    "TELECOMMAND",
    "OrderRefusedError",
    "kind_of",
    "open_order",
    "placed_spec",
]

TELECOMMAND: Final = "telecommand"
JOB: Final = "job"
CANCEL: Final = "job_cancel"
SEQUENCE: Final = "sequence"
KEYS: Final = "keys"

MAXIMUM_ORDER_BYTES: Final = 98_304
"""Of a signed order, whole: with what carries it, it must fit into one item of delivery."""

MAXIMUM_ID_LENGTH: Final = 128

_FOR_ALL: Final = frozenset({JOB, CANCEL, KEYS})
"""Kinds whose destination may be empty."""


class OrderRefusedError(Exception):
    """The order is not obeyed; the message is a sentence for people.

    ``order`` is what it would have been, as far as it could be read: nobody vouches for it.
    """

    def __init__(self, reason: str, order: Order | None = None, *, is_late: bool = False) -> None:
        self.order = order
        self.is_late = is_late
        """It is refused because its end has passed."""
        super().__init__(reason)


def kind_of(order: Order) -> str:
    """``telecommand``, ``job``, ``job_cancel``, ``sequence`` or ``keys``; empty when it is none of these."""
    return order.WhichOneof("kind") or ""


def open_order(data: bytes) -> tuple[SignedOrder, Order]:
    """Read a signed order, and check that it makes sense; nobody vouches for it yet.

    Raises:
        OrderRefusedError: it is too large, cannot be read, or contradicts itself.
    """
    if len(data) > MAXIMUM_ORDER_BYTES:
        raise OrderRefusedError(f"an order of {len(data):,} bytes; at most {MAXIMUM_ORDER_BYTES:,} are read")
    try:
        signed = SignedOrder.FromString(data)
        order = Order.FromString(signed.order)
    except DecodeError:
        raise OrderRefusedError("this is not a signed order") from None
    problem = _contradiction(order)
    if problem:
        raise OrderRefusedError(f"order {order.order_id[:64]!r}: {problem}", order)
    return signed, order


def _contradiction(order: Order) -> str:
    if not 0 < len(order.order_id) <= MAXIMUM_ID_LENGTH:
        return f"its id must have 1 to {MAXIMUM_ID_LENGTH} characters"
    kind = kind_of(order)
    if not kind:
        return "it asks for nothing that is known here"
    if not order.destination and kind not in _FOR_ALL:
        return f"a {kind} needs a destination"
    if not all(math.isfinite(time) and time >= 0 for time in (order.not_after_seconds, order.signed_seconds)):
        return "its times must be numbers of mission seconds, from 0 on"
    if kind == TELECOMMAND:
        inside = (order.telecommand.command_id, order.telecommand.submitter, order.telecommand.not_after_seconds)
    elif kind == JOB:
        inside = (order.job.job_id, order.job.submitter, order.job.deadline_seconds)
    else:
        return ""
    around = (order.order_id, order.submitter, order.not_after_seconds)
    return "" if inside == around else f"its id, submitter and end are not those of the {kind} in it"


def placed_spec(placement: job_pb2.JobPlacement) -> job_pb2.JobSpec:
    """The job of a placement: the one that its submitter signed, where it carries an order.

    Nobody is asked whether the signature is good: that happened when the placement came.

    Raises:
        OrderRefusedError: what it carries is not an order for a job.
    """
    if not placement.signed_order:
        return placement.spec
    _, order = open_order(placement.signed_order)
    if kind_of(order) != JOB:
        raise OrderRefusedError("a placement carries an order that is not for a job", order)
    return order.job
