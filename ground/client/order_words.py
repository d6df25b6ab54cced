"""The asyncio client's words for orders that are signed here, second signatures, and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from ground.client import calls
from ground.client.calls import Call
from ground.client.wishes import id_of
from ground.records import JobRecord
from skyrack.errors import UserError
from skyrack.orders import open_order
from skyrack.signing import ORDER, SigningKey
from skyrack.v1.backhaul_pb2 import SignedOrder

if TYPE_CHECKING:
    from ground.keys import KeysRecord
    from ground.order_desk import OrderRecord

__all__ = ["OrderWords"]

T = TypeVar("T")


class OrderWords:
    """A part of ``ground.client.Skyrack``."""

    _key: SigningKey | None

    async def _get(self, call: Call, kind: type[T]) -> T:
        raise NotImplementedError

    async def ask(self, call: Call) -> httpx.Response:
        """Whatever can be asked."""
        raise NotImplementedError

    async def order(self, command_id: str) -> SignedOrder:
        """The order of a command or a sequence, as who is to sign it must see it: ``skyrack.orders.open_order``."""
        return SignedOrder.FromString((await self.ask(calls.order_of(command_id))).content)

    async def bring(self, signed: SignedOrder) -> OrderRecord:
        """Bring an order that was signed: a job, a command, a list of keys. The same again changes nothing."""
        from ground.order_desk import OrderRecord  # brings the ground itself, which few clients need

        data = signed.SerializeToString()
        _, order = open_order(data)
        return await self._get(calls.order(order.order_id, data), OrderRecord)

    async def approve(self, signed: SignedOrder) -> OrderRecord:
        """Sign what ``order`` showed, with this client's key: exactly those bytes, whatever the ground has by now.

        Raises:
            UserError: this client was made without a key.
        """
        from ground.order_desk import OrderRecord

        if self._key is None:
            raise UserError("to approve needs a key of one's own: Skyrack(key=FILE)")
        _, order = open_order(signed.SerializeToString())
        signature = self._key.sign(ORDER, signed.order)
        return await self._get(calls.approve(order.order_id, self._key.key_id, signature), OrderRecord)

    async def keys(self) -> KeysRecord:
        """The keys that are believed, and which satellites know of them."""
        from ground.keys import KeysRecord

        return await self._get(calls.keys(), KeysRecord)

    async def receipt(self, job: str | JobRecord) -> dict[str, Any]:
        """What a job's satellite vouches for: hashes of what ran and of what came of it, joules, seconds."""
        return dict((await self.ask(calls.receipt(id_of(job)))).json())
