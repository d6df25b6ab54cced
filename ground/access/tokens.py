"""Tokens: 256 random bits that stand for a name and a role. The ground keeps their SHA-256 only."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ground.access.roles import Person, Role
from skyrack.files import FileError

__all__ = ["Token", "hash_of", "load_or_create", "new_token", "token_id_of"]

_PREFIX: Final = "skyrack-"
_ID_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token. Times in mission seconds."""

    token_id: str
    sha256: str
    name: str
    role: Role
    created_seconds: float
    # 0 for a token that does not end.
    end_seconds: float = 0.0
    revoked_seconds: float | None = None

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at a mission time."""
        return self.revoked_seconds is None and (self.end_seconds == 0 or now < self.end_seconds)

    @property
    def person(self) -> Person:
        """Who shows it."""
        return Person(self.name, self.role, self.token_id)


def new_token() -> str:
    """A new secret. Secret scanners find the prefix, should it ever be published by mistake."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What is kept of a secret: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_id_of(sha256: str) -> str:
    """The name of a token, which is no secret: the first digits of its hash."""
    return sha256[:_ID_DIGITS]


def load_or_create(path: Path) -> str:
    """The secret in a file of mode 0600, made at the first start.

    Raises:
        FileError: the file cannot be read or made.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
            with os.fdopen(descriptor, "w") as file:
                file.write(new_token() + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, f"the local token cannot be read or made ({error})") from error
    if len(found) < 32:
        raise FileError(path, "this is no token; move the file away to have a new one made")
    return found
