"""Orders that are signed where their submitter is: the ground gets what is signed, and never the key."""

from __future__ import annotations

import getpass
from typing import Final

from google.protobuf.message import Message

from skyrack import jobfile, orders
from skyrack.dictionary import Command
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import Order, Telecommand

__all__ = ["DEFAULT_LIFETIME_SECONDS", "cancellation", "job", "person", "telecommand"]

DEFAULT_LIFETIME_SECONDS: Final = 86_400.0
"""Mission time after which an order is of no use, where its submitter does not say."""


def person() -> str:
    """Who is at this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"


def job(spec: job_pb2.JobSpec, job_id: str, now: float) -> Order:
    """A job as an order; its package is brought by itself."""
    return orders.job_order(jobfile.submitted(spec, job_id, person(), now), signed_seconds=now)


def cancellation(order_id: str, job_id: str, attempt: int, reason: str, now: float) -> Order:
    """The end of a job as an order."""
    wanted = job_pb2.JobCancel(job_id=job_id, attempt=attempt, reason=reason)
    end = now + DEFAULT_LIFETIME_SECONDS
    return orders.cancel_order(order_id, "", wanted, signed_seconds=now, not_after_seconds=end, submitter=person())


def telecommand(
    satellite: str,
    command: Command,
    request: Message,
    command_id: str,
    service: str,
    lifetime_seconds: float,
    now: float,
) -> Order:
    """A telecommand as an order."""
    wanted = Telecommand(
        command_id=command_id,
        service=command.rpc.on_board or service,
        method=command.name,
        request=request.SerializeToString(deterministic=True),
        submitter=person(),
        not_after_seconds=now + (lifetime_seconds or DEFAULT_LIFETIME_SECONDS),
    )
    return orders.telecommand_order(satellite, wanted, signed_seconds=now)
