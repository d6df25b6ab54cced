"""Orders are made and signed: once serialized, everybody carries the same bytes."""

from __future__ import annotations

from skyrack.signing import ORDER, SigningKey
from skyrack.v1 import backhaul_pb2, job_pb2
from skyrack.v1.backhaul_pb2 import Order, SignedOrder

__all__ = ["cancel_order", "cosign", "job_order", "key_list_order", "sequence_order", "sign", "telecommand_order"]


def telecommand_order(
    destination: str, command: backhaul_pb2.Telecommand, *, signed_seconds: float, submitter: str = ""
) -> Order:
    """Order a telecommand, which has an id and an end; the order's are the same."""
    order = _order(command.command_id, destination, submitter or command.submitter, signed_seconds)
    order.not_after_seconds = command.not_after_seconds
    order.telecommand.CopyFrom(command)
    order.telecommand.submitter = order.submitter
    return order


def job_order(spec: job_pb2.JobSpec, *, signed_seconds: float) -> Order:
    """Order a job, as ``jobfile.submitted`` made it; wherever the ground places it, until its deadline."""
    order = _order(spec.job_id, "", spec.submitter, signed_seconds)
    order.not_after_seconds = spec.deadline_seconds
    order.job.CopyFrom(spec)
    return order


def cancel_order(
    order_id: str,
    destination: str,
    cancel: job_pb2.JobCancel,
    *,
    signed_seconds: float,
    not_after_seconds: float,
    submitter: str = "",
) -> Order:
    """Order that an attempt of a job, or with attempt 0 whichever there is, be stopped."""
    order = _order(order_id, destination, submitter, signed_seconds)
    order.not_after_seconds = not_after_seconds
    order.job_cancel.CopyFrom(cancel)
    return order


def sequence_order(
    order_id: str,
    destination: str,
    sequence: backhaul_pb2.CommandSequence,
    *,
    signed_seconds: float,
    not_after_seconds: float,
    submitter: str = "",
) -> Order:
    """Order a sequence of telecommands; its end is when it must have arrived."""
    order = _order(order_id, destination, submitter, signed_seconds)
    order.not_after_seconds = not_after_seconds
    order.sequence.CopyFrom(sequence)
    return order


def key_list_order(
    order_id: str, keys: backhaul_pb2.KeyList, *, signed_seconds: float, destination: str = "", submitter: str = ""
) -> Order:
    """Order that this list of keys be believed, by one satellite or, with no destination, by all.

    It has no end: whoever comes back after a year must still learn whom to believe, and a list's version alone says
    whether it is the newer one.
    """
    order = _order(order_id, destination, submitter, signed_seconds)
    order.keys.CopyFrom(keys)
    return order


def _order(order_id: str, destination: str, submitter: str, signed_seconds: float) -> Order:
    return Order(order_id=order_id, destination=destination, submitter=submitter, signed_seconds=signed_seconds)


def sign(order: Order, *keys: SigningKey) -> SignedOrder:
    """Serialize an order and sign it; the first key's holder is the one whose order it is."""
    signed = SignedOrder(order=order.SerializeToString(deterministic=True))
    for key in keys:
        signed = cosign(signed, key)
    return signed


def cosign(signed: SignedOrder, key: SigningKey) -> SignedOrder:
    """Add a signature over the same bytes; a key that has signed already signs no second time."""
    result = SignedOrder()
    result.CopyFrom(signed)
    if all(signature.key_id != key.key_id for signature in signed.signatures):
        result.signatures.add(key_id=key.key_id, signature=key.sign(ORDER, signed.order))
    return result
