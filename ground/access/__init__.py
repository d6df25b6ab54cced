"""Who may do what on the ground: tokens, roles, sessions of browsers.

``person_of(request)`` is who asks, behind the HTTP interface and behind the console's pages and websockets alike;
``require(person, Role.OPERATOR)`` lets through who may.
"""

from __future__ import annotations

from ground.access.book import TokenBook
from ground.access.roles import EVERYBODY, ForbiddenError, Person, Role, person_of, require
from ground.access.throttle import Throttle
from ground.access.tokens import Token

__all__ = [
    "EVERYBODY",
    "ForbiddenError",
    "Person",
    "Role",
    "Throttle",
    "Token",
    "TokenBook",
    "person_of",
    "require",
]
