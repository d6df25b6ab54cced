"""Orders: what a person wants done, as exact bytes that the person, or the ground for the person, has signed.

An order is serialized once, by whoever signs it first; everybody else carries those bytes. Who obeys checks the
signatures, the rights of the signers, the destination and the end, and remembers (first signer's key, order id), so
that no order is obeyed twice.
"""

from skyrack.orders.making import (
    cancel_order,
    cosign,
    job_order,
    key_list_order,
    sequence_order,
    sign,
    telecommand_order,
)
from skyrack.orders.reading import (
    CANCEL,
    JOB,
    KEYS,
    MAXIMUM_ORDER_BYTES,
    SEQUENCE,
    TELECOMMAND,
    OrderRefusedError,
    kind_of,
    open_order,
    placed_spec,
)
from skyrack.orders.verifying import Verified, authenticate, lacking, signer_text, significance_of, verify

__all__ = [
    "CANCEL",
    "JOB",
    "KEYS",
    "MAXIMUM_ORDER_BYTES",
    "SEQUENCE",
    "TELECOMMAND",
    "OrderRefusedError",
    "Verified",
    "authenticate",
    "cancel_order",
    "cosign",
    "job_order",
    "key_list_order",
    "kind_of",
    "lacking",
    "open_order",
    "placed_spec",
    "sequence_order",
    "sign",
    "signer_text",
    "significance_of",
    "telecommand_order",
    "verify",
]
