"""Ed25519 keys: made at the first start, kept in a file that only its owner can read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skyrack.files import FileError

__all__ = ["FRAME", "ORDER", "RECEIPT", "SigningKey", "key_id_of"]

FRAME: Final = "skyrack frame 1"
"""Purpose of a signature over a backhaul frame."""

ORDER: Final = "skyrack order 1"
"""Purpose of a signature over what a person wants done."""

RECEIPT: Final = "skyrack receipt 1"
"""Purpose of a satellite's signature over what ran, what came of it and what it took."""


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
        except OSError as error:
            raise FileError(path, f"the signing key cannot be made ({error.strerror})") from error
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read the key in ``path``.

        Raises:
            FileError: the file cannot be read, or is not a key.
        """
        try:
            seed = path.read_bytes()
        except OSError as error:
            raise FileError(path, f"the signing key cannot be read ({error.strerror})") from error
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
