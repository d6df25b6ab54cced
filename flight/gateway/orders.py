"""What came up: verified before anything, and then recorded once, ever.

A relay may bring pieces of files and prolong leases; whatever else it brings must be an order that somebody signed
who may ask for it. What is refused is told to the ground, where it has a name, and to people as an event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import cast

from google.protobuf.message import DecodeError

from flight.gateway import work
from flight.gateway.keys import Believed
from skyrack import orders
from skyrack.clock import Clock
from skyrack.delivery import Delivered, RejectItemError
from skyrack.jobs import JobState
from skyrack.orders import OrderRefusedError, Verified
from skyrack.v1 import backhaul_pb2, job_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence, Order, OrderReport, Payload, TelecommandReport

Enqueue = Callable[[sqlite3.Connection, Payload], None]
"""Puts a payload of the status stream into the outbox, in the transaction."""

TakeSequence = Callable[[sqlite3.Connection, str, CommandSequence, float], None]
"""(connection, id, sequence, end): keeps a sequence. May raise ``RejectItemError``."""

_UNSIGNED = frozenset({"telecommand", "job_cancel"})


class OrderDesk:
    """Takes items in for an endpoint: ``take`` in its transaction, ``told`` after it."""

    def __init__(
        self,
        satellite: str,
        believed: Believed,
        clock: Clock,
        enqueue: Enqueue,
        take_sequence: TakeSequence | None = None,
        take_unsigned: Callable[[sqlite3.Connection, Payload, Delivered], bool] | None = None,
    ) -> None:
        """``take_unsigned`` takes what a relay may bring on its own, and says whether it was that."""
        self._satellite = satellite
        self._believed = believed
        self._clock = clock
        self._enqueue = enqueue
        self._take_sequence = take_sequence
        self._take_unsigned = take_unsigned
        self._refusals: dict[tuple[int, int, int], str] = {}

    def take(self, connection: sqlite3.Connection, item: Delivered) -> None:
        """Record what came up.

        Raises:
            RejectItemError: the item is malformed, or of a kind that does not come up in this way.
            OSError: a key list could not be kept.
        """
        try:
            payload = Payload.FromString(item.payload)
        except DecodeError:
            raise RejectItemError("it is not a payload") from None
        kind = payload.WhichOneof("kind") or "nothing"
        if kind in _UNSIGNED:
            raise RejectItemError(f"a {kind} that nobody signed; {item.source} can only relay orders")
        if kind == "order":
            self._take_order(connection, item, payload.order.SerializeToString())
        elif kind == "job_placement":
            self._take_placement(connection, item, payload.job_placement)
        elif self._take_unsigned is None or not self._take_unsigned(connection, payload, item):
            raise RejectItemError(f"{kind} does not come up to a satellite")

    def told(self, items: Sequence[Delivered]) -> list[str]:
        """Why orders among the items that were committed were refused, each in a sentence."""
        found = (self._refusals.pop(_place(item), "") for item in items)
        return [reason for reason in found if reason]

    def _verify(self, data: bytes, *, is_placement: bool) -> Verified:
        now = self._clock.now()
        verified = orders.verify(data, self._believed.ring, now=now, destination=self._satellite)
        if is_placement != (verified.kind == orders.JOB):
            reason = f"order {verified.order.order_id}: a job, and nothing else, comes with a placement"
            raise OrderRefusedError(reason, verified.order)
        return verified

    def _take_order(self, connection: sqlite3.Connection, item: Delivered, data: bytes) -> None:
        try:
            verified = self._verify(data, is_placement=False)
        except OrderRefusedError as error:
            self._refuse(connection, item, error)
            return
        if self._is_new(connection, verified):
            self._obey(connection, verified)

    def _is_new(self, connection: sqlite3.Connection, verified: Verified) -> bool:
        """Whether this order has never come; remembered from now on."""
        order = verified.order
        try:
            return work.remember(
                connection, verified.digest, verified.signers[0].key_id, order.order_id, order.not_after_seconds
            )
        except ValueError as error:
            raise RejectItemError(f"{error}; its signer is {verified.signers[0].name}") from None

    def _obey(self, connection: sqlite3.Connection, verified: Verified) -> None:
        order, key_id = verified.order, verified.signers[0].key_id
        if verified.kind == orders.TELECOMMAND:
            payload = Payload(telecommand=order.telecommand)
            work.add(connection, work.TELECOMMAND, verified.guard, key_id, order.not_after_seconds, payload)
            self._enqueue(connection, self._telecommand_report(order, backhaul_pb2.TELECOMMAND_STAGE_ACCEPTED))
        elif verified.kind == orders.CANCEL:
            payload = Payload(job_cancel=order.job_cancel)
            work.add(connection, work.CANCEL, verified.guard, key_id, order.not_after_seconds or 1.0, payload)
        elif verified.kind == orders.SEQUENCE and self._take_sequence is not None:
            self._take_sequence(connection, order.order_id, order.sequence, order.not_after_seconds)
        elif verified.kind == orders.KEYS:
            self._take_keys(connection, order)
        else:
            raise RejectItemError(f"{verified.kind} is not known here")

    def _take_keys(self, connection: sqlite3.Connection, order: Order) -> None:
        try:
            stage, reason = (
                backhaul_pb2.TELECOMMAND_STAGE_COMPLETED,
                self._believed.take(order.keys, self._clock.now()),
            )
        except ValueError as error:
            stage, reason = backhaul_pb2.TELECOMMAND_STAGE_FAILED, str(error)
        self._enqueue(connection, self._order_report(order, stage, reason))

    def _take_placement(self, connection: sqlite3.Connection, item: Delivered, placement: job_pb2.JobPlacement) -> None:
        if not placement.signed_order:
            raise RejectItemError(f"a job that nobody signed; {item.source} can only relay orders")
        try:
            verified = self._verify(placement.signed_order, is_placement=True)
        except OrderRefusedError as error:
            self._refuse(connection, item, error, placement.attempt)
            return
        placement.spec.CopyFrom(verified.order.job)
        placement.ClearField("signed_order")
        work.add_placement(connection, verified.signers[0].key_id, placement)

    def _refuse(
        self, connection: sqlite3.Connection, item: Delivered, error: OrderRefusedError, attempt: int = 0
    ) -> None:
        """Tell the ground, in the transaction; people hear of it when that is committed."""
        order = error.order
        if order is None:
            raise RejectItemError(str(error)) from None
        failed = backhaul_pb2.TELECOMMAND_STAGE_FAILED
        stage = backhaul_pb2.TELECOMMAND_STAGE_EXPIRED if error.is_late else failed
        kind = orders.kind_of(order)
        if kind == orders.JOB and attempt:
            self._enqueue(connection, self._job_status(order, attempt, error))
        elif kind == orders.TELECOMMAND:
            self._enqueue(connection, self._telecommand_report(order, stage, str(error)))
        elif kind:
            self._enqueue(connection, self._order_report(order, stage, str(error)))
        self._refusals[_place(item)] = str(error)

    def _telecommand_report(self, order: Order, stage: backhaul_pb2.TelecommandStage, reason: str = "") -> Payload:
        report = TelecommandReport(
            command_id=order.order_id, stage=stage, reason=reason, mission_time_seconds=self._clock.now()
        )
        return Payload(telecommand_report=report)

    def _order_report(self, order: Order, stage: backhaul_pb2.TelecommandStage, reason: str) -> Payload:
        report = OrderReport(
            order_id=order.order_id, stage=stage, reason=reason, mission_time_seconds=self._clock.now()
        )
        return Payload(order_report=report)

    def _job_status(self, order: Order, attempt: int, error: OrderRefusedError) -> Payload:
        state = JobState.EXPIRED if error.is_late else JobState.REJECTED
        status = job_pb2.JobStatus(
            job_id=order.order_id,
            attempt=attempt,
            version=1,
            state=cast("job_pb2.JobState", int(state)),
            reason=str(error),
            mission_time_seconds=self._clock.now(),
            satellite=self._satellite,
            package_sha256=order.job.package_sha256,
            rate=self._clock.rate,
        )
        return Payload(job_status=status)


def _place(item: Delivered) -> tuple[int, int, int]:
    return item.stream, item.epoch, item.sequence
