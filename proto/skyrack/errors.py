"""Errors that a person can act on."""

from __future__ import annotations


class UserError(Exception):
    """Bad input from a person: the message is one sentence saying what was wrong, where, and what would be right.

    The ``skyrack`` command prints the message without a traceback and ends with exit code 2.
    """
