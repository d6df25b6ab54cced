"""Who says what: Ed25519 keys, and the list of keys that are believed and what each may do.

A signature covers exact bytes together with a purpose, so that what was signed for one purpose can never pass for
another. Keys are made at the first start and stay in a file that only its owner can read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from skyrack.files import FileError

__all__ = [
    "FRAME",
    "KeyEntry",
    "KeyRing",
    "Right",
    "SigningKey",
    "VerificationError",
    "key_id_of",
    "provision",
    "seeded_ring",
]

FRAME: Final = "skyrack frame 1"
"""Purpose of a signature over a backhaul frame."""


class Right(StrEnum):
    """What the holder of a key may do."""

    SATELLITE = "satellite"
    """Send frames as the satellite of the key's name."""
    RELAY = "relay"
    """Carry commands and jobs to satellites."""
    COMMAND = "command"
    """Command on-board services."""
    SUBMIT = "submit"
    """Submit and cancel jobs."""


class VerificationError(Exception):
    """The bytes were not signed by a key that may do this."""


def key_id_of(public: bytes) -> str:
    """Name of a public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


class SigningKey:
    """A private key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()
        self.key_id: str = key_id_of(self.public)

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, *parts: str | int) -> SigningKey:
        """Make the key that belongs to a seed: equal parts, equal key. For simulations only."""
        text = "\0".join(str(part) for part in parts)
        return cls(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(text.encode()).digest()))

    @classmethod
    def load_or_create(cls, path: Path) -> SigningKey:
        """Read the key in ``path``, or make one and keep it there (mode 0600).

        Two processes that start together agree on one key.

        Raises:
            FileError: the file cannot be read or written, or is not a key.
        """
        try:
            if not path.exists():
                cls._create(path)
            seed = path.read_bytes()
        except OSError as error:
            raise FileError(path, f"the signing key cannot be read or made ({error.strerror})") from error
        try:
            key = serialization.load_pem_private_key(seed, password=None)
        except (ValueError, TypeError) as error:
            raise FileError(path, "this is not a private key in PEM form; move it away to make a new one") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise FileError(path, "an Ed25519 key is needed; move it away to make a new one")
        return cls(key)

    @classmethod
    def _create(cls, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)  # fails where another process was first: its key counts
            except FileExistsError:
                return
        finally:
            Path(temporary).unlink()

    def sign(self, purpose: str, data: bytes) -> bytes:
        """Sign ``data`` for ``purpose``: 64 bytes."""
        return self._private.sign(purpose.encode() + b"\0" + data)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A public key, whose it is, and what it may do."""

    name: str
    public: bytes
    rights: frozenset[Right]

    @property
    def key_id(self) -> str:
        """Name of the key itself."""
        return key_id_of(self.public)


class KeyRing:
    """The keys that are believed."""

    def __init__(self, entries: Iterable[KeyEntry] = ()) -> None:
        self._entries: dict[str, tuple[KeyEntry, Ed25519PublicKey]] = {}
        for entry in entries:
            self.add(entry)

    def __iter__(self) -> Iterator[KeyEntry]:
        return (entry for entry, _ in self._entries.values())

    def add(self, entry: KeyEntry) -> None:
        """Believe a key. Raises ``ValueError`` when it is not an Ed25519 public key."""
        self._entries[entry.key_id] = (entry, Ed25519PublicKey.from_public_bytes(entry.public))

    def may(self, key_id: str, right: Right) -> bool:
        """Whether a key is believed and has a right."""
        known = self._entries.get(key_id)
        return known is not None and right in known[0].rights

    def revoke(self, key_id: str) -> None:
        """Believe a key no longer; harmless when it is not there."""
        self._entries.pop(key_id, None)

    def verify(self, purpose: str, data: bytes, signature: bytes, key_id: str) -> KeyEntry:
        """Find out who signed ``data`` for ``purpose``.

        Raises:
            VerificationError: the key is unknown, or the signature is not its.
        """
        known = self._entries.get(key_id)
        if known is None:
            raise VerificationError(f"key {key_id[:16]!r} is not known here")
        entry, public = known
        try:
            public.verify(signature, purpose.encode() + b"\0" + data)
        except InvalidSignature:
            raise VerificationError(f"the signature is not one of {entry.name}'s key {key_id}") from None
        return entry

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a ring from its JSON file.

        Raises:
            FileError: the file is missing or is not a key ring.
        """
        try:
            document = json.loads(path.read_text())
            return cls(
                KeyEntry(key["name"], bytes.fromhex(key["public"]), frozenset(Right(right) for right in key["rights"]))
                for key in document["keys"]
            )
        except OSError as error:
            raise FileError(path, f"the key ring cannot be read ({error.strerror})") from error
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(path, f"this is not a key ring ({error})") from error

    def save(self, path: Path) -> None:
        """Write the ring to its JSON file, atomically."""
        keys = [
            {"name": entry.name, "key_id": entry.key_id, "public": entry.public.hex(), "rights": sorted(entry.rights)}
            for entry in sorted(self, key=lambda entry: (entry.name, entry.key_id))
        ]
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(json.dumps({"keys": keys}, indent=1) + "\n")
        temporary.replace(path)


def provision(directory: Path, satellites: Iterable[str], ground: str = "ground") -> Path:
    """Make what a constellation needs to talk: ``<name>.key`` for each party and ``keys.json`` for all of them.

    Keys that are there stay. Returns the path of the ring.

    Raises:
        FileError: a file cannot be read or written.
    """
    path = directory / "keys.json"
    ring = KeyRing.load(path) if path.exists() else KeyRing()
    ground_rights = frozenset({Right.RELAY, Right.COMMAND, Right.SUBMIT})
    ring.add(KeyEntry(ground, SigningKey.load_or_create(directory / f"{ground}.key").public, ground_rights))
    for name in satellites:
        public = SigningKey.load_or_create(directory / f"{name}.key").public
        ring.add(KeyEntry(name, public, frozenset({Right.SATELLITE})))
    ring.save(path)
    return path


def seeded_ring(seed: int, satellites: Iterable[str], ground: str = "ground") -> KeyRing:
    """The ring whose keys ``SigningKey.from_seed(seed, name)`` makes. For simulations only."""
    ring = KeyRing()
    ground_rights = frozenset({Right.RELAY, Right.COMMAND, Right.SUBMIT})
    ring.add(KeyEntry(ground, SigningKey.from_seed(seed, ground).public, ground_rights))
    for name in satellites:
        ring.add(KeyEntry(name, SigningKey.from_seed(seed, name).public, frozenset({Right.SATELLITE})))
    return ring
