"""What both sides agree on about files: offers, refusals and receipts. Every method runs in a caller's transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from skyrack.database import Connection
from skyrack.delivery.blocks import store
from skyrack.delivery.blocks.layout import MAXIMUM_FILE_BYTES, Description, OfferError, check_offer, offer_of
from skyrack.v1.backhaul_pb2 import FileOffer, FileReceipt, Payload
from skyrack.v1.options_pb2 import STREAM_BULK

OnSettled = Callable[[Connection, str, bytes, str], None]
"""(connection, source, SHA-256, problem): a file that was wanted is here, or with a problem never will be."""


class Enqueue(Protocol):
    """Puts an item into the outbox, as ``Endpoint.enqueue`` does."""

    def __call__(
        self, connection: Connection, destination: str, stream: int, payload: bytes, *, not_after_seconds: float = ...
    ) -> object: ...


class FileBook:
    """Offers of files, ours and others'.

    ``to_kick`` and ``released`` grow in transactions: peers that something was enqueued for, and paths of files that
    nobody needs any more. The shell takes both by ``drain``; an entry too many, of a transaction that failed, does no
    harm, for both are looked at again before anything follows from them.
    """

    def __init__(self, enqueue: Enqueue, has: Callable[[bytes], bool], limit_bytes: int = MAXIMUM_FILE_BYTES) -> None:
        self._enqueue = enqueue
        self._has = has
        self._limit_bytes = limit_bytes
        self.on_settled: OnSettled = lambda _connection, _source, _sha256, _problem: None
        self.to_kick: deque[str] = deque()
        self.released: deque[str] = deque()
        self.offers_refused = 0

    def drain(self) -> tuple[list[str], set[str]]:
        """What is to be kicked and released; within a transaction, so that none that it is of is still under way."""
        to_kick = sorted({self.to_kick.popleft() for _ in range(len(self.to_kick))})
        return to_kick, {self.released.popleft() for _ in range(len(self.released))}

    def offer(
        self,
        connection: Connection,
        destination: str,
        description: Description,
        job_id: str,
        attempt: int,
        *,
        path: str = "",
        content: bytes | None = None,
        not_after_seconds: float = 0.0,
    ) -> None:
        """Offer a file that stays readable until the peer's receipt. Raises what ``Endpoint.enqueue`` raises."""
        store.hold(connection, description, path, content)
        store.offer(connection, destination, description.layout.sha256, job_id, attempt)
        payload = Payload(file_offer=offer_of(description, job_id, attempt))
        self._send(connection, destination, payload, not_after_seconds)

    def withdraw(self, connection: Connection, destination: str, sha256: bytes, reason: str) -> None:
        """A file cannot be sent any more: tell, for every job that it was offered for."""
        for job_id, attempt in store.open_offers(connection, destination, sha256):
            store.withdraw(connection, destination, sha256, job_id, attempt)
            self._tell_withdrawn(connection, destination, sha256, reason, job_id, attempt)
        self._let_go(connection, sha256)

    def deny(self, connection: Connection, destination: str, sha256: bytes) -> None:
        """A peer asks for a file that is not offered to it: its offer is long over, or a lost store's."""
        self._tell_withdrawn(connection, destination, sha256, "it is not offered any more", "", 0)

    def _tell_withdrawn(
        self, connection: Connection, destination: str, sha256: bytes, reason: str, job_id: str, attempt: int
    ) -> None:
        offer = FileOffer(sha256=sha256, job_id=job_id, attempt=attempt, withdrawn=reason)
        self._send(connection, destination, Payload(file_offer=offer))

    def take_offer(self, connection: Connection, source: str, offer: FileOffer, now: float, refusal: str = "") -> str:
        """A peer offered a file, or withdrew it. With a ``refusal`` it is not wanted, which the peer is told.

        Returns why it is not taken; empty if it is.
        """
        if offer.withdrawn:
            self.settle(connection, source, offer.sha256, offer.withdrawn, tell=False)
            return ""
        problem = refusal
        if not problem:
            try:
                offered = check_offer(offer, self._limit_bytes)
            except OfferError as error:
                problem = str(error)
        if problem:
            self.offers_refused += 1
            self._give_receipt(connection, source, offer.sha256, offer.job_id, offer.attempt, problem)
            return problem
        is_here = self._has(offer.sha256)
        state = store.want(connection, source, offered, offer.job_id, offer.attempt, now, is_here=is_here)
        if state == store.COMPLETE:
            self._give_receipt(connection, source, offer.sha256, offer.job_id, offer.attempt, "")
            self.on_settled(connection, source, offer.sha256, "")
        return ""

    def take_receipt(self, connection: Connection, source: str, receipt: FileReceipt) -> bool:
        """A peer needs a file no more for a job. Returns whether it was offered."""
        was = store.withdraw(connection, source, receipt.sha256, receipt.job_id, receipt.attempt)
        if was:
            self._let_go(connection, receipt.sha256)
        return was

    def settle(
        self, connection: Connection, source: str, sha256: bytes, problem: str = "", *, tell: bool = True
    ) -> None:
        """A file that was wanted is here, or never will be: receipts for every job, and ``on_settled``."""
        wanted = store.wanted(connection, source, sha256)
        if wanted is None or wanted.state != store.RECEIVING:
            return
        for job_id, attempt in store.settle(connection, source, sha256, problem):
            if tell:
                self._give_receipt(connection, source, sha256, job_id, attempt, problem)
        self.on_settled(connection, source, sha256, problem)

    def abandon(self, connection: Connection, source: str, job_id: str, attempt: int, problem: str) -> list[bytes]:
        """A job's attempt needs its files no more, come what may. Returns those that nobody needs any more."""
        open_ones = [
            wanted.offered.layout.sha256
            for wanted in store.wanted_for(connection, source, job_id, attempt)
            if wanted.state == store.RECEIVING
        ]
        for sha256 in open_ones:
            self._give_receipt(connection, source, sha256, job_id, attempt, problem)
        return store.forget(connection, source, job_id, attempt)

    def drop_offers(self, connection: Connection, destination: str, job_id: str, attempt: int) -> None:
        """A job's attempt is over: what was offered for it may be asked for no more."""
        for sha256 in store.offered_for(connection, destination, job_id, attempt):
            store.withdraw(connection, destination, sha256, job_id, attempt)
            self._let_go(connection, sha256)

    def _give_receipt(
        self, connection: Connection, destination: str, sha256: bytes, job_id: str, attempt: int, problem: str
    ) -> None:
        receipt = FileReceipt(sha256=sha256, job_id=job_id, attempt=attempt, problem=problem)
        self._send(connection, destination, Payload(file_receipt=receipt))

    def _let_go(self, connection: Connection, sha256: bytes) -> None:
        path = store.let_go(connection, sha256)
        if path:
            self.released.append(path)

    def _send(self, connection: Connection, destination: str, payload: Payload, not_after_seconds: float = 0.0) -> None:
        data = payload.SerializeToString()
        self._enqueue(connection, destination, STREAM_BULK, data, not_after_seconds=not_after_seconds)
        self.to_kick.append(destination)
