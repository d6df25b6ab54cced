"""Signing on the machine of the person who wants something: the ground gets what is signed, and never the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ground.client import SkyrackClient, signing
from skyrack import orders
from skyrack.dictionary import Command, build_request
from skyrack.signing import SigningKey
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import Order

__all__ = ["cancel", "local_key", "send", "submit"]

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
    order = signing.telecommand(
        submission["satellite"],
        command,
        build_request(command, submission["arguments"]),
        command_id,
        submission["service"],
        submission["lifetime_seconds"],
        now,
    )
    return _brought(client, key, order)["telecommand"]


def submit(client: SkyrackClient, key: Path, spec: job_pb2.JobSpec, package: bytes, job_id: str) -> dict[str, Any]:
    """Sign a job and bring it, with its package; its record."""
    client.package(package)
    return _brought(client, key, signing.job(spec, job_id, _now(client)))["job"]


def cancel(client: SkyrackClient, key: Path, order_id: str, job_id: str, reason: str) -> dict[str, Any]:
    """Sign the cancellation of a job and bring it; the job's record."""
    record, now = client.job(job_id), _now(client)
    return _brought(client, key, signing.cancellation(order_id, job_id, record["attempt"], reason, now))["job"]


def _now(client: SkyrackClient) -> float:
    return float(client.health()["mission_time_seconds"])


def _brought(client: SkyrackClient, key: Path, order: Order) -> dict[str, dict[str, Any]]:
    signed = orders.sign(order, SigningKey.load(key))
    return client.order(order.order_id, signed.SerializeToString())
