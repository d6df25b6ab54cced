"""Orders are verified: who signed, whether they may, and whether they are enough."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from skyrack import dictionary
from skyrack.orders.reading import CANCEL, JOB, KEYS, SEQUENCE, TELECOMMAND, OrderRefusedError, kind_of, open_order
from skyrack.signing import ORDER, KeyEntry, KeyRing, Right, VerificationError
from skyrack.v1 import options_pb2
from skyrack.v1.backhaul_pb2 import Order

__all__ = ["Verified", "authenticate", "lacking", "signer_text", "significance_of", "verify"]

MAXIMUM_SIGNATURES: Final = 4

_RIGHTS: Final = {
    TELECOMMAND: frozenset({Right.COMMAND}),
    SEQUENCE: frozenset({Right.COMMAND}),
    JOB: frozenset({Right.SUBMIT}),
    CANCEL: frozenset({Right.SUBMIT}),
    KEYS: frozenset({Right.AUTHORITY}),
}
_CRITICAL_RIGHTS: Final = frozenset({Right.COMMAND, Right.CRITICAL})
"""One of them is enough to stand for a critical command beside somebody else."""


@dataclass(frozen=True, slots=True)
class Verified:
    """An order whose signatures are good and whose signers hold the rights that its kind needs."""

    order: Order
    kind: str
    signers: tuple[KeyEntry, ...]
    """In the order of their signatures, each once."""
    data: bytes
    """The signed order, serialized, as it came."""
    digest: bytes
    """SHA-256 of what was signed: it stays the same whoever else signs, and in whatever order signatures stand."""

    @property
    def guard(self) -> str:
        """What tells an order from another, for ever: the first signer's key id and the order's id."""
        return f"{self.signers[0].key_id}/{self.order.order_id}"


def significance_of(order: Order) -> int:
    """The greatest ``Significance`` of what an order asks for; unspecified where the dictionary knows none.

    A command that the dictionary does not know has none: nobody can carry it out.
    """
    kind = kind_of(order)
    commands = [order.telecommand] if kind == TELECOMMAND else [step.telecommand for step in order.sequence.steps]
    known = dictionary.commands()
    found = [known[command.method].significance for command in commands if command.method in known]
    return max(found, default=options_pb2.SIGNIFICANCE_UNSPECIFIED)


def authenticate(data: bytes, ring: KeyRing, *, now: float, destination: str = "") -> Verified:
    """Find out whose order this is: every signature must be good, and every signer may ask for this kind.

    ``destination`` is who asks: a satellite's name, or empty on the ground, which passes orders on. Whether there are
    enough signatures says ``lacking``.

    Raises:
        OrderRefusedError: it is not for ``destination``, is over, or somebody signed it who may not.
    """
    signed, order = open_order(data)
    kind = kind_of(order)
    if destination and order.destination not in ("", destination):
        raise OrderRefusedError(f"order {order.order_id} is for {order.destination}, not for {destination}", order)
    if 0 < order.not_after_seconds < now:
        late = now - order.not_after_seconds
        reason = f"order {order.order_id} ended {late:.0f} s of mission time ago"
        raise OrderRefusedError(reason, order, is_late=True)
    if not 0 < len(signed.signatures) <= MAXIMUM_SIGNATURES:
        found = len(signed.signatures)
        reason = f"order {order.order_id} carries {found} signatures, 1 to {MAXIMUM_SIGNATURES} are needed"
        raise OrderRefusedError(reason, order)
    is_critical = significance_of(order) == options_pb2.SIGNIFICANCE_CRITICAL
    rights = _CRITICAL_RIGHTS if is_critical else _RIGHTS[kind]
    signers: dict[str, KeyEntry] = {}
    for signature in signed.signatures:
        try:
            entry = ring.verify(ORDER, signed.order, signature.signature, signature.key_id, now)
        except VerificationError as error:
            raise OrderRefusedError(f"order {order.order_id}: {error}", order) from None
        if not rights & entry.rights:
            wanted = " or ".join(sorted(rights))
            reason = f"order {order.order_id}: {entry.name} signed a {kind} without the right to it ({wanted})"
            raise OrderRefusedError(reason, order)
        signers.setdefault(entry.key_id, entry)
    return Verified(order, kind, tuple(signers.values()), data, hashlib.sha256(signed.order).digest())


def lacking(verified: Verified) -> str:
    """What an order still needs before it may be obeyed; empty when nothing.

    A critical command needs two people: the signatures of keys of two different names, at least one of which holds
    the right ``critical``. The ground's key, which may command, counts as the person for whom it signs: who asks by
    token and approves with a key of the same name is one person.
    """
    if significance_of(verified.order) != options_pb2.SIGNIFICANCE_CRITICAL:
        return ""
    names = sorted({_person(verified.order, entry) for entry in verified.signers})
    if len(names) < 2:
        return f"it is critical and needs the signature of a second person; only {names[0]} has signed"
    if not any(Right.CRITICAL in entry.rights for entry in verified.signers):
        return f"it is critical, and none of its signers ({', '.join(names)}) holds the right critical"
    return ""


def _person(order: Order, signer: KeyEntry) -> str:
    """Who stands behind a signature: a relay's is for the order's submitter, where there is one."""
    return order.submitter if order.submitter and Right.RELAY in signer.rights else signer.name


def verify(data: bytes, ring: KeyRing, *, now: float, destination: str) -> Verified:
    """Find out whether ``destination`` is to obey: ``authenticate``, and no signature is lacking.

    Raises:
        OrderRefusedError: it is not.
    """
    verified = authenticate(data, ring, now=now, destination=destination)
    missing = lacking(verified)
    if missing:
        raise OrderRefusedError(f"order {verified.order.order_id}: {missing}", verified.order)
    return verified


def signer_text(verified: Verified) -> str:
    """Who stands for an order, for people: ``operator-1`` or ``ground for alice, operator-2``."""
    order, first = verified.order, verified.signers[0]
    is_for_another = order.submitter and order.submitter != first.name and Right.RELAY in first.rights
    names = [f"{first.name} for {order.submitter}" if is_for_another else first.name]
    return ", ".join(names + [entry.name for entry in verified.signers[1:]])
