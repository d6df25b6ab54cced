"""The backhaul: what carries signed frames between satellites and the ground, and may lose any of them.

``skyrack.backhaul.mqtt`` is the real one, over any MQTT broker; ``skyrack.backhaul.memory`` the twin's. Neither is
asked for more than this module says; what must not be lost is the business of ``skyrack.delivery``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = [
    "OFFLINE",
    "ONLINE",
    "Backhaul",
    "BackhaulError",
    "Connector",
    "LinkState",
    "Will",
    "down_topic",
    "satellite_of",
    "state_topic",
    "up_topic",
]

ROOT: Final = "skyrack/v1"
ONLINE: Final = b"online"
OFFLINE: Final = b"offline"


class BackhaulError(Exception):
    """The session is over, or could not begin; connect again later."""


class Backhaul(Protocol):
    """One session with a broker.

    Guaranteed: a message arrives whole or not at all. Not guaranteed: that it arrives, once, or in order.
    """

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message over; waits while too many are on the way.

        Raises:
            BackhaulError: the session is over.
        """

    def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        """Iterate over (topic, payload) of what arrives for this session's subscriptions.

        Raises:
            BackhaulError: the session is over.
        """


@dataclass(frozen=True, slots=True)
class LinkState:
    """The way between a satellite and the broker, as it truly is; ``via`` names the relay or station."""

    up: bool
    rate_bits_per_second: float = float("inf")
    delay_seconds: float = 0.0
    via: str = ""


Connector = Callable[[], AbstractAsyncContextManager[Backhaul]]
"""Begins one session: subscribed, with its will left at the broker. Entering it may raise ``BackhaulError``."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for a client that it has lost."""

    topic: str
    payload: bytes
    retain: bool = True


def up_topic(satellite: str) -> str:
    """Topic of what goes up through a satellite's gateway."""
    return f"{ROOT}/{satellite}/up"


def down_topic(satellite: str, stream: str) -> str:
    """Topic of what comes down through a satellite's gateway; ``"+"`` stands for any, in subscriptions."""
    return f"{ROOT}/{satellite}/down/{stream}"


def state_topic(satellite: str) -> str:
    """Topic that says, retained, whether a satellite's gateway has a session (``ONLINE``, ``OFFLINE``)."""
    return f"{ROOT}/{satellite}/state"


def satellite_of(topic: str) -> str | None:
    """The satellite whose gateway a topic belongs to; ``None`` for a foreign topic."""
    parts = topic.split("/")
    return parts[2] if len(parts) >= 4 and topic.startswith(f"{ROOT}/") else None
