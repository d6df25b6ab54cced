"""Orders that people have signed themselves, second signatures, the keys that are believed, and receipts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import Field

from ground.api.common import Model, Researcher, Segment, Viewer, about
from ground.keys import KeysRecord
from ground.order_desk import OrderRecord
from skyrack.errors import UserError
from skyrack.orders import MAXIMUM_ORDER_BYTES

__all__ = ["SignatureSubmission", "router"]

router = APIRouter(tags=["orders"])

SignedBytes = Annotated[
    bytes, Body(media_type="application/octet-stream", max_length=MAXIMUM_ORDER_BYTES, description="A SignedOrder")
]


class SignatureSubmission(Model):
    """A signature over an order's bytes, for the purpose ``skyrack order 1``."""

    key_id: str = Field(pattern="^[0-9a-f]{16}$")
    signature: str = Field(pattern="^[0-9a-f]{128}$", description="Ed25519, hexadecimal")


@router.put("/v1/orders/{order_id}")
async def bring_order(
    order_id: str, signed: SignedBytes, segment: Segment, _: Researcher, request: Request
) -> OrderRecord:
    """Bring an order that its submitter has signed: a job, a command, a list of keys. The same again changes nothing.

    What counts is the signature in it, not whose token brings it.
    """
    found = segment.orders.taken(signed)
    about(request, f"{order_id[:128]}: {found.kind} of {found.signers[0].name}")
    if found.order.order_id != order_id:
        raise UserError(f"the order's id is {found.order.order_id}, not {order_id[:128]}")
    return await segment.order_desk.take(signed)


@router.get("/v1/orders/{command_id}", response_class=Response)
async def get_order(command_id: str, segment: Segment, _: Viewer) -> Response:
    """The SignedOrder of a command or a sequence, as who is to sign it must see it."""
    return Response(await segment.order_desk.order_of(command_id), media_type="application/octet-stream")


@router.post("/v1/orders/{command_id}/signatures")
async def sign_order(
    command_id: str, submission: SignatureSubmission, segment: Segment, _: Researcher, request: Request
) -> OrderRecord:
    """Add a signature to a critical command that lacks one; with the last of them it leaves."""
    about(request, f"{command_id[:128]}: key {submission.key_id}")
    return await segment.order_desk.approve(command_id, submission.key_id, bytes.fromhex(submission.signature))


@router.get("/v1/keys")
async def get_keys(segment: Segment, _: Viewer) -> KeysRecord:
    """The keys that are believed, and which satellites know of them."""
    return await segment.order_desk.keys()


@router.get("/v1/jobs/{job_id}/receipt")
async def get_receipt(job_id: str, segment: Segment, _: Viewer) -> dict[str, Any]:
    """What a job's satellite vouches for: hashes of what ran and of what came of it, joules, seconds."""
    return await segment.order_desk.receipt(job_id)
