"""The keys that are believed, what each may do, and when: one versioned list, in a file and on the wire."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from skyrack.files import FileError
from skyrack.signing.keys import key_id_of
from skyrack.v1.backhaul_pb2 import KeyList, KeyListEntry

__all__ = ["KeyEntry", "KeyRing", "Right", "VerificationError"]


class Right(StrEnum):
    """What the holder of a key may do."""

    SATELLITE = "satellite"
    """Send frames as the satellite of the key's name."""
    RELAY = "relay"
    """Carry orders to satellites."""
    COMMAND = "command"
    """Give routine commands, and those that need caution."""
    CRITICAL = "critical"
    """Stand for a critical command, together with the key of somebody else."""
    SUBMIT = "submit"
    """Submit and cancel jobs."""
    AUTHORITY = "authority"
    """Say which keys are believed."""
    PROVISION = "provision"
    """Vouch for boards: sign reports of their acceptance. Gives no say in orbit."""


class VerificationError(Exception):
    """The bytes were not signed by a key that may do this."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A public key, whose it is, what it may do, and between which mission times; 0 is always."""

    name: str
    public: bytes
    rights: frozenset[Right]
    not_before_seconds: float = 0.0
    not_after_seconds: float = 0.0

    @property
    def key_id(self) -> str:
        """Name of the key itself."""
        return key_id_of(self.public)

    def problem_at(self, now: float) -> str:
        """Why the key is not believed at a mission time; empty when it is."""
        if self.not_before_seconds and now < self.not_before_seconds:
            wait = self.not_before_seconds - now
            return f"{self.name}'s key {self.key_id} is not valid for another {wait:.0f} s of mission time"
        if self.not_after_seconds and now > self.not_after_seconds:
            late = now - self.not_after_seconds
            return f"{self.name}'s key {self.key_id} expired {late:.0f} s of mission time ago"
        return ""


_Keys = Mapping[str, tuple[KeyEntry, Ed25519PublicKey]]


class KeyRing:
    """The keys that are believed. Who holds the ring sees a change at once and whole."""

    def __init__(self, entries: Iterable[KeyEntry] = (), *, version: int = 1, revoked: Iterable[str] = ()) -> None:
        """Raises ``ValueError`` when a key is not an Ed25519 public key."""
        self._keys: _Keys = {entry.key_id: (entry, _public(entry)) for entry in entries}
        self.version = version
        """Of two lists the one with the greater version is in force."""
        self.revoked = frozenset(revoked)
        """Ids of keys that were believed once and never shall be again."""

    def __iter__(self) -> Iterator[KeyEntry]:
        return (entry for entry, _ in self._keys.values())

    def get(self, key_id: str) -> KeyEntry | None:
        """The entry of a key, if it is believed."""
        known = self._keys.get(key_id)
        return None if known is None else known[0]

    def add(self, entry: KeyEntry) -> None:
        """Believe a key. Raises ``ValueError`` when it is not an Ed25519 public key."""
        self._keys = {**self._keys, entry.key_id: (entry, _public(entry))}

    def revoke(self, key_id: str) -> None:
        """Believe a key no longer, ever; harmless when it is not there."""
        self._keys = {known: pair for known, pair in self._keys.items() if known != key_id}
        self.revoked |= {key_id}

    def replace(self, other: KeyRing) -> None:
        """Believe what the other ring believes, from one moment to the next."""
        self._keys, self.version, self.revoked = other._keys, other.version, other.revoked

    def copy(self) -> KeyRing:
        """A ring of its own with the same keys."""
        return KeyRing(self, version=self.version, revoked=self.revoked)

    def may(self, key_id: str, right: Right, now: float | None = None) -> bool:
        """Whether a key is believed (at a mission time, where one is given) and has a right."""
        entry = self.get(key_id)
        return entry is not None and right in entry.rights and (now is None or not entry.problem_at(now))

    def verify(self, purpose: str, data: bytes, signature: bytes, key_id: str, now: float | None = None) -> KeyEntry:
        """Find out who signed ``data`` for ``purpose``; with ``now``, whether the key is valid then.

        Raises:
            VerificationError: the key is unknown, revoked or out of its time, or the signature is not its.
        """
        known = self._keys.get(key_id)
        if known is None:
            state = "has been revoked" if key_id in self.revoked else "is not known here"
            raise VerificationError(f"key {key_id[:16]!r} {state}")
        entry, public = known
        try:
            public.verify(signature, purpose.encode() + b"\0" + data)
        except InvalidSignature:
            raise VerificationError(f"the signature is not one of {entry.name}'s key {key_id}") from None
        if now is not None and (problem := entry.problem_at(now)):
            raise VerificationError(problem)
        return entry

    def problem_at(self, now: float) -> str:
        """Why nobody could live with this ring: who believed it could never be told anything again. Else empty."""
        for right, loss in ((Right.RELAY, "carry orders"), (Right.AUTHORITY, "change the list")):
            if not any(right in entry.rights and not entry.problem_at(now) for entry in self):
                return f"a key list without a valid key of right {right!s}: nobody could {loss} any more"
        return ""

    def successor(self, keys: KeyList, now: float) -> KeyRing | None:
        """The ring that a list makes of this one; ``None`` when it is the one in force.

        Raises:
            ValueError: it is not a newer list, or whoever believed it could never be told anything again.
        """
        ring = KeyRing.from_message(keys)
        if ring.version == self.version and ring.to_message() == self.to_message():
            return None
        if ring.version <= self.version:
            raise ValueError(f"a key list of version {ring.version}; version {self.version} is in force")
        problem = ring.problem_at(now)
        if problem:
            raise ValueError(problem)
        ring.revoked = (self.revoked | self._keys.keys()) - {entry.key_id for entry in ring}
        return ring

    def to_message(self) -> KeyList:
        """The list as it goes over the link."""
        keys = [
            KeyListEntry(
                name=entry.name,
                public=entry.public,
                rights=sorted(entry.rights),
                not_before_seconds=entry.not_before_seconds,
                not_after_seconds=entry.not_after_seconds,
            )
            for entry in self._sorted()
        ]
        return KeyList(version=self.version, keys=keys)

    @classmethod
    def from_message(cls, keys: KeyList) -> KeyRing:
        """The ring that a list describes; rights that this software does not know give no right.

        Raises:
            ValueError: a key is not an Ed25519 public key, or has no name, or stands there twice.
        """
        entries = []
        for key in keys.keys:
            if not key.name:
                raise ValueError(f"key {key_id_of(key.public)} has no name")
            rights = frozenset(right for right in Right if right.value in key.rights)
            entries.append(KeyEntry(key.name, key.public, rights, key.not_before_seconds, key.not_after_seconds))
        ring = cls(entries, version=keys.version)
        if len(ring._keys) != len(entries):
            raise ValueError("a key stands in the list twice")
        return ring

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a ring from its JSON file.

        Raises:
            FileError: the file is missing or is not a key ring.
        """
        try:
            document = json.loads(path.read_text())
            entries = [
                KeyEntry(
                    key["name"],
                    bytes.fromhex(key["public"]),
                    frozenset(Right(right) for right in key["rights"]),
                    float(key.get("not_before_seconds", 0)),
                    float(key.get("not_after_seconds", 0)),
                )
                for key in document["keys"]
            ]
            return cls(entries, version=int(document.get("version", 1)), revoked=document.get("revoked", ()))
        except OSError as error:
            raise FileError(path, f"the key ring cannot be read ({error.strerror})") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FileError(path, f"this is not a key ring ({error})") from error

    def save(self, path: Path) -> None:
        """Write the ring to its JSON file: whoever reads sees the old ring or the new one, after a power cut too.

        Raises:
            OSError: the disk is full or failed; the old ring is still there.
        """
        keys = [
            {
                "name": entry.name,
                "key_id": entry.key_id,
                "public": entry.public.hex(),
                "rights": sorted(entry.rights),
                "not_before_seconds": entry.not_before_seconds,
                "not_after_seconds": entry.not_after_seconds,
            }
            for entry in self._sorted()
        ]
        document = {"version": self.version, "keys": keys, "revoked": sorted(self.revoked)}
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w") as file:
            file.write(json.dumps(document, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _sorted(self) -> list[KeyEntry]:
        return sorted(self, key=lambda entry: (entry.name, entry.key_id))


def _public(entry: KeyEntry) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(entry.public)
