"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from skyrack.errors import UserError

__all__ = ["EVERYBODY", "ForbiddenError", "Person", "Role", "person_of", "require"]


class ForbiddenError(UserError):
    """This person may not do this; the sentence says which role may."""


class Role(StrEnum):
    """What a person may do; each may all that those before it may."""

    VIEWER = "viewer"
    """See everything but tokens and the audit log."""
    RESEARCHER = "researcher"
    """Submit and cancel jobs."""
    OPERATOR = "operator"
    """Command satellites."""
    ADMIN = "admin"
    """Give and take tokens and keys, read the audit log."""

    @property
    def rank(self) -> int:
        """Greater for who may more."""
        return _RANKS[self]


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: the name and the role of the token that was shown."""

    name: str
    role: Role
    # Name of the token itself, which is no secret; empty where no token was needed.
    token_id: str = ""

    def may(self, role: Role) -> bool:
        """Whether this person may do what needs a role."""
        return self.role.rank >= role.rank


EVERYBODY: Final = Person("local", Role.ADMIN)
"""Whoever reaches an interface that asks nobody for a token: the one in process, of the twin and of tests."""


class _Connection(Protocol):
    """A Starlette request or websocket."""

    @property
    def scope(self) -> Any: ...


def person_of(connection: _Connection | Mapping[str, Any]) -> Person:
    """Who stands behind a request or a websocket (or its ASGI scope).

    Raises:
        ForbiddenError: nobody does; the guard of the interface did not see this connection.
    """
    scope = connection if isinstance(connection, Mapping) else connection.scope
    person = scope.get("state", {}).get("person")
    if not isinstance(person, Person):
        raise ForbiddenError("nobody is known to stand behind this request; show a token")
    return person


def require(person: Person, role: Role) -> None:
    """Let a person through who has a role.

    Raises:
        ForbiddenError: the person has less.
    """
    if not person.may(role):
        raise ForbiddenError(f"this needs the role {role}; {person.name} is {person.role}")
