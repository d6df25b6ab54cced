"""The first keys of a constellation, and those of a simulation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from skyrack.errors import UserError
from skyrack.files import FileError
from skyrack.signing.keys import SigningKey
from skyrack.signing.ring import KeyEntry, KeyRing, Right

__all__ = [
    "AUTHORITY",
    "AUTHORITY_RIGHTS",
    "GROUND_RIGHTS",
    "OPERATORS",
    "OPERATOR_RIGHTS",
    "SATELLITE_RIGHTS",
    "provision",
    "seeded_ring",
]

SATELLITE_RIGHTS: Final = frozenset({Right.SATELLITE})
GROUND_RIGHTS: Final = frozenset({Right.RELAY, Right.COMMAND, Right.SUBMIT})
"""Never critical alone, and no say in whom satellites believe: who steals the ground does not own them."""
OPERATOR_RIGHTS: Final = frozenset({Right.COMMAND, Right.CRITICAL, Right.SUBMIT})
AUTHORITY_RIGHTS: Final = frozenset({Right.AUTHORITY})

OPERATORS: Final = ("operator-1", "operator-2")
AUTHORITY: Final = "authority"


def _parties(satellites: Iterable[str], ground: str) -> dict[str, frozenset[Right]]:
    parties = {ground: GROUND_RIGHTS, AUTHORITY: AUTHORITY_RIGHTS}
    parties |= dict.fromkeys(OPERATORS, OPERATOR_RIGHTS)
    for name in satellites:
        if name in parties:
            raise UserError(f'a satellite cannot be called "{name}": another party\'s key has this name')
        parties[name] = SATELLITE_RIGHTS
    return parties


def provision(directory: Path, satellites: Iterable[str], ground: str = "ground") -> Path:
    """Make what a constellation needs to talk: ``<name>.key`` for each party and ``keys.json`` for all of them.

    Parties are the satellites, the ground, two operators and an authority. Keys that are there stay; a key that was
    revoked stays so. Returns the path of the ring.

    Raises:
        FileError: a file cannot be read or written.
        UserError: a satellite has the name of the ground, an operator or the authority, or of another satellite.
    """
    path = directory / "keys.json"
    ring = KeyRing.load(path) if path.exists() else KeyRing(version=0)
    is_changed = False
    for name, rights in _parties(satellites, ground).items():
        key = SigningKey.load_or_create(directory / f"{name}.key")
        if ring.get(key.key_id) is None and key.key_id not in ring.revoked:
            ring.add(KeyEntry(name, key.public, rights))
            is_changed = True
    if is_changed:
        ring.version += 1
        try:
            ring.save(path)
        except OSError as error:
            raise FileError(path, f"the key ring cannot be written ({error.strerror})") from error
    return path


def seeded_ring(seed: int, satellites: Iterable[str], ground: str = "ground") -> KeyRing:
    """The ring whose keys ``SigningKey.from_seed(seed, name)`` makes. For simulations only."""
    return KeyRing(
        KeyEntry(name, SigningKey.from_seed(seed, name).public, rights)
        for name, rights in _parties(satellites, ground).items()
    )
