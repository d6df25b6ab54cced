"""What the ground answers when it cannot do what was asked; bad input itself is ``skyrack.errors.UserError``."""

from __future__ import annotations

from skyrack.errors import UserError

__all__ = ["ConflictError", "UnknownError"]


class UnknownError(UserError):
    """There is no such job, satellite, telecommand or file."""


class ConflictError(UserError):
    """Something else has this id already."""
