"""Who says what: Ed25519 keys, and the list of keys that are believed and what each may do.

A signature covers exact bytes together with a purpose, so that what was signed for one purpose can never pass for
another.
"""

from skyrack.signing.keys import FRAME, ORDER, RECEIPT, SigningKey, key_id_of
from skyrack.signing.provision import (
    AUTHORITY,
    AUTHORITY_RIGHTS,
    GROUND_RIGHTS,
    OPERATOR_RIGHTS,
    OPERATORS,
    SATELLITE_RIGHTS,
    provision,
    seeded_ring,
)
from skyrack.signing.ring import KeyEntry, KeyRing, Right, VerificationError

__all__ = [
    "AUTHORITY",
    "AUTHORITY_RIGHTS",
    "FRAME",
    "GROUND_RIGHTS",
    "OPERATORS",
    "OPERATOR_RIGHTS",
    "ORDER",
    "RECEIPT",
    "SATELLITE_RIGHTS",
    "KeyEntry",
    "KeyRing",
    "Right",
    "SigningKey",
    "VerificationError",
    "key_id_of",
    "provision",
    "seeded_ring",
]
