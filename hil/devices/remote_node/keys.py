"""CURVE keys of driver and node: a JSON file each, readable by its owner only."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import zmq
from zmq.utils import z85

from skyrack.errors import UserError


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A CURVE key pair in Z85, 40 characters each."""

    public: str
    secret: str

    @classmethod
    def new(cls) -> KeyPair:
        """A pair that nobody has yet."""
        public, secret = zmq.curve_keypair()
        return cls(public=public.decode(), secret=secret.decode())

    def encoded(self) -> bytes:
        """What its file holds."""
        return msgspec.json.encode(self)


def read_or_make(path: Path) -> KeyPair:
    """The pair in a file; made when there is none.

    Raises:
        UserError: the file is no key pair, or cannot be read or made.
    """
    try:
        if not path.exists():
            _make(path)
        pair = msgspec.json.decode(path.read_bytes(), type=KeyPair)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(
            f"{path}: this is no file of a CURVE key pair ({error}); remove it, and a new one is made"
        ) from None
    for key in (pair.public, pair.secret):
        checked(key, str(path))
    return pair


def checked(key: str, where: str) -> str:
    """A key, when it is one.

    Raises:
        UserError: it is none.
    """
    try:
        good = len(z85.decode(key.encode())) == 32
    except (ValueError, KeyError, zmq.ZMQError):
        good = False
    if not good:
        raise UserError(f"{where}: {key!r} is no CURVE key; it must be 40 characters of Z85")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(KeyPair.new().encoded())
