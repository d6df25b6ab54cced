"""Clients of the ground, and how they find the one that runs here.

``Skyrack`` is for asyncio, with typed records; ``SkyrackClient`` for programs without it, with plain JSON. Both send
the questions of ``ground.client.calls``.
"""

from __future__ import annotations

from ground.client.blocking import SkyrackClient, is_settled
from ground.client.errors import GroundError, UnreachableError
from ground.client.find import HOME, Address, address_in, find_ground
from ground.client.skyrack import Skyrack
from ground.client.stream import Change

__all__ = [
    "HOME",
    "Address",
    "Change",
    "GroundError",
    "Skyrack",
    "SkyrackClient",
    "UnreachableError",
    "address_in",
    "find_ground",
    "is_settled",
]
