"""Signing on the machine of the person who wants something: the ground gets what is signed, and never the key."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ground.client import SkyrackClient
from skyrack import jobfile, orders
from skyrack.dictionary import Command, build_request
from skyrack.signing import SigningKey
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import Order, Telecommand

__all__ = ["cancel", "local_key", "send", "submit"]

DEFAULT_LIFETIME_SECONDS = 86_400.0

local_key = click.option(
    "--key",
    "key_file",
    envvar="SKYRACK_KEY",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sign with this key, here. [default: the ground signs; env: SKYRACK_KEY]",
)


def send(
    client: SkyrackClient, key: Path, command_id: str, command: Command, submission: Mapping[str, Any]
) -> dict[str, Any]:
    """Sign a telecommand and bring it; its record."""
    now = _now(client)
    telecommand = Telecommand(
        command_id=command_id,
        service=command.rpc.on_board or submission["service"],
        method=command.name,
        request=build_request(command, submission["arguments"]).SerializeToString(deterministic=True),
        submitter=_person(),
        not_after_seconds=now + (submission["lifetime_seconds"] or DEFAULT_LIFETIME_SECONDS),
    )
    order = orders.telecommand_order(submission["satellite"], telecommand, signed_seconds=now)
    return _brought(client, key, order)["telecommand"]


def submit(client: SkyrackClient, key: Path, spec: job_pb2.JobSpec, package: bytes, job_id: str) -> dict[str, Any]:
    """Sign a job and bring it, with its package; its record."""
    client.package(package)
    now = _now(client)
    return _brought(client, key, orders.job_order(jobfile.submitted(spec, job_id, _person(), now), signed_seconds=now))[
        "job"
    ]


def cancel(client: SkyrackClient, key: Path, order_id: str, job_id: str, reason: str) -> dict[str, Any]:
    """Sign the cancellation of a job and bring it; the job's record."""
    record, now = client.job(job_id), _now(client)
    wanted = job_pb2.JobCancel(job_id=job_id, attempt=record["attempt"], reason=reason)
    end = now + DEFAULT_LIFETIME_SECONDS
    order = orders.cancel_order(order_id, "", wanted, signed_seconds=now, not_after_seconds=end, submitter=_person())
    return _brought(client, key, order)["job"]


def _person() -> str:
    """Who is at this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "unknown"


def _now(client: SkyrackClient) -> float:
    return float(client.health()["mission_time_seconds"])


def _brought(client: SkyrackClient, key: Path, order: Order) -> dict[str, dict[str, Any]]:
    signed = orders.sign(order, SigningKey.load(key))
    return client.order(order.order_id, signed.SerializeToString())
