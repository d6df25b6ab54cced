"""What people want done, as orders: the ground signs for those who have no key of their own, and checks the others'."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message

from skyrack import orders
from skyrack.dictionary import Rpc, check_arguments, rpcs
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.orders import OrderRefusedError, Verified
from skyrack.signing import KeyRing, SigningKey
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence, Order, Payload, Telecommand

__all__ = ["Orders", "checked_rpc", "payload_of"]


def checked_rpc(method: str, service: str, request: Message) -> Rpc:
    """The request of an on-board service that a person asks for.

    Raises:
        UserError: there is none of this name, it is another service's, or its arguments are not right.
    """
    rpc = next((rpc for rpc in rpcs() if rpc.name == method), None)
    if rpc is None or not isinstance(request, rpc.request):
        raise UserError(f"there is no command {method}; {suggest(method, [rpc.name for rpc in rpcs()])}")
    if not (service or rpc.on_board):
        raise UserError(f"{method}: every service takes it; say which")
    if rpc.on_board and service not in ("", rpc.on_board):
        raise UserError(f"{method}: {rpc.on_board} takes it, not {service}")
    problems = check_arguments(request)
    if problems:
        raise UserError(f"{method}: {'; '.join(problems)}")
    return rpc


def payload_of(data: bytes) -> bytes:
    """What carries a signed order up: a payload, serialized."""
    payload = Payload()
    payload.order.ParseFromString(data)
    return payload.SerializeToString()


class Orders:
    """Signs with the ground's key, and believes whom the ring names."""

    def __init__(self, key: SigningKey, ring: KeyRing, now: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._key = key
        self.ring = ring
        self._now = now
        self._new_id = new_id

    def telecommand(self, satellite: str, command: Telecommand) -> Verified:
        """The ground stands for a telecommand's submitter."""
        return self._signed(orders.telecommand_order(satellite, command, signed_seconds=self._now()))

    def sequence(
        self, order_id: str, satellite: str, sequence: CommandSequence, *, not_after_seconds: float, submitter: str = ""
    ) -> Verified:
        """The ground stands for a sequence."""
        order = orders.sequence_order(
            order_id,
            satellite,
            sequence,
            signed_seconds=self._now(),
            not_after_seconds=not_after_seconds,
            submitter=submitter,
        )
        return self._signed(order)

    def job(self, spec: job_pb2.JobSpec) -> Verified:
        """The ground stands for a job's submitter; the same job gives the same bytes."""
        return self._signed(orders.job_order(spec, signed_seconds=spec.submitted_seconds))

    def cancel(self, satellite: str, cancel: job_pb2.JobCancel, *, not_after_seconds: float = 0.0) -> Verified:
        """The ground stands for who cancels a job."""
        order = orders.cancel_order(
            self._new_id(), satellite, cancel, signed_seconds=self._now(), not_after_seconds=not_after_seconds
        )
        return self._signed(order)

    @property
    def key_id(self) -> str:
        """Name of the ground's own key."""
        return self._key.key_id

    def _signed(self, order: Order) -> Verified:
        return self.taken(orders.sign(order, self._key).SerializeToString())

    def taken(self, data: bytes) -> Verified:
        """An order that somebody brings, signed; more signatures may be lacking.

        Raises:
            UserError: it is not one that a satellite would obey.
        """
        try:
            return orders.authenticate(data, self.ring, now=self._now())
        except OrderRefusedError as error:
            raise UserError(str(error)) from None
