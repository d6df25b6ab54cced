"""The tokens in force: looked up in memory, kept in the ground's database."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ground.access.roles import Person, Role
from ground.access.sessions import SESSION_SECONDS, Sessions
from ground.access.tokens import Token, hash_of, load_or_create, new_token, token_id_of
from ground.errors import UnknownError
from ground.store import tokens
from skyrack.clock import Clock
from skyrack.errors import UserError
from skyrack.storage import Storage

__all__ = ["TokenBook"]

_LOCAL_FILE: Final = "local.token"


class TokenBook:
    """Make it with ``open``. Whoever can read ``local_token`` is an administrator: the user that runs the ground."""

    def __init__(self, database: Storage[Any], clock: Clock, local_token: str, known: Sequence[Token]) -> None:
        self._database = database
        self._clock = clock
        self.local_token = local_token
        self._sessions = Sessions(hashlib.sha256(b"skyrack sessions\0" + local_token.encode()).digest())
        sha256 = hash_of(local_token)
        self._local = Token(token_id_of(sha256), sha256, _user(), Role.ADMIN, 0.0)
        self._by_hash = {token.sha256: token for token in (*known, self._local)}
        self._by_id = {token.token_id: token for token in self._by_hash.values()}

    @classmethod
    async def open(cls, database: Storage[Any], clock: Clock, state_dir: Path) -> TokenBook:
        """Read the tokens; the database is open. The local token is made at the first start.

        Raises:
            FileError: the local token's file cannot be used.
            StorageError: the database cannot be used.
        """
        return cls(database, clock, load_or_create(state_dir / _LOCAL_FILE), await database.read(tokens.load_all))

    def person(self, token: str) -> Person | None:
        """Who shows a token; None when it opens nothing."""
        return self._valid(self._by_hash.get(hash_of(token)))

    def begin_session(self, token: str) -> str | None:
        """What a browser keeps in place of a token; None when it opens nothing."""
        person = self.person(token)
        if person is None:
            return None
        return self._sessions.begin(person.token_id, self._clock.now() + SESSION_SECONDS * self._clock.rate)

    def person_of_session(self, session: str) -> Person | None:
        """Who opened a session; None when it is over, or its token is."""
        token_id = self._sessions.token_id(session, self._clock.now())
        return self._valid(self._by_id.get(token_id)) if token_id else None

    def is_current(self, person: Person) -> bool:
        """Whether the token that let somebody in is still in force: for connections that last."""
        return self._valid(self._by_id.get(person.token_id)) is not None

    async def new(self, name: str, role: Role, lifetime_seconds: float = 0.0) -> tuple[str, Token]:
        """Make a token: its secret, which is shown once, and what is kept of it."""
        if not name.strip() or len(name) > 64 or not name.isprintable():
            raise UserError(f'name "{name[:80]}": must have 1 to 64 printable characters')
        secret = new_token()
        sha256 = hash_of(secret)
        now = self._clock.now()
        end = now + lifetime_seconds if lifetime_seconds else 0.0
        token = Token(token_id_of(sha256), sha256, name.strip(), role, now, end)
        await self._database.write(lambda connection: tokens.add(connection, token))
        self._keep(token)
        return secret, token

    async def revoke(self, token_id: str) -> Token:
        """Take a token out of force, with all its sessions; harmless when it is already."""
        if token_id == self._local.token_id:
            raise UserError(f"the local token is revoked by removing {_LOCAL_FILE} and starting the ground again")
        if token_id not in self._by_id:
            raise UnknownError(f"there is no token {token_id}; `skyrack tokens list` shows their ids")
        now = self._clock.now()
        await self._database.write(lambda connection: tokens.revoke(connection, token_id, now))
        for token in await self._database.read(tokens.load_all):
            self._keep(token)
        return self._by_id[token_id]

    def all(self) -> list[Token]:
        """All tokens there ever were, oldest first."""
        return sorted(self._by_id.values(), key=lambda token: (token.created_seconds, token.token_id))

    def _keep(self, token: Token) -> None:
        self._by_hash[token.sha256] = self._by_id[token.token_id] = token

    def _valid(self, token: Token | None) -> Person | None:
        return token.person if token is not None and token.is_valid(self._clock.now()) else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "local"
