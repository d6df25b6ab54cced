"""Holds sessions with the broker, over the link that the chooser prefers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from flight.gateway.choice import ANTENNA, OPTICAL, LinkChooser
from skyrack.backhaul import OFFLINE, Connector, Will, state_topic, up_topic
from skyrack.backhaul.tls import TlsFiles
from skyrack.delivery import Link
from skyrack.errors import UserError

_KEEPALIVE_SECONDS: Final = {OPTICAL: 5, ANTENNA: 15}
_IDLE_SECONDS: Final = 1.0
"""How long to wait before asking again when no link is promising; time of the event loop."""


def connector_for(attachment: object, satellite: str, keepalive_seconds: int, tls: TlsFiles | None = None) -> Connector:
    """What a board attachment stands for: a broker's URL, a way to the twin's hub, or a connector as it is.

    ``tls`` is for a broker's URL of ``mqtts``.

    Raises:
        UserError: it is none of these.
    """
    subscriptions = [up_topic(satellite)]
    will = Will(state_topic(satellite), OFFLINE)
    if isinstance(attachment, str):
        from skyrack.backhaul.mqtt import mqtt_connector  # the twin has no broker, and is spared its client

        return mqtt_connector(
            attachment,
            client_id=satellite,
            subscriptions=subscriptions,
            will=will,
            tls=tls,
            keepalive_seconds=keepalive_seconds,
        )
    make: Callable[[str, list[str], Will | None], Connector] | None = getattr(attachment, "connector", None)
    if make is not None:
        return make(satellite, subscriptions, will)
    if callable(attachment):
        return attachment
    raise UserError(f"backhaul {attachment!r}: a broker's address like mqtt://host:1883 is needed")


def tls_files(attachments: Mapping[str, object]) -> TlsFiles:
    """The PEM files that a board names for its broker: ``broker.ca``, ``broker.certificate``, ``broker.key``."""
    ca, certificate, key = (str(attachments.get(f"broker.{name}", "")) for name in ("ca", "certificate", "key"))
    return TlsFiles(ca, certificate, key)


def connectors_for(attachments: Mapping[str, object], satellite: str) -> dict[str, Connector]:
    """A connector for each link that a board has: ``backhaul.optical``, ``backhaul.antenna``. Raises ``UserError``."""
    tls = tls_files(attachments)
    return {
        link: connector_for(attachments[f"backhaul.{link}"], satellite, keepalive_seconds, tls)
        for link, keepalive_seconds in _KEEPALIVE_SECONDS.items()
        if attachments.get(f"backhaul.{link}")
    }


class Connections:
    """One session at a time, for as long as ``run`` runs."""

    def __init__(
        self,
        link: Link,
        connectors: Mapping[str, Connector],
        chooser: LinkChooser,
        on_change: Callable[[str, str], None],
    ) -> None:
        """``on_change(link, reason)`` hears of each session that began (empty reason) and ended."""
        self._link = link
        self._connectors = connectors
        self._chooser = chooser
        self._on_change = on_change
        self._session: asyncio.Task[None] | None = None
        self._left = False
        self._up = False
        self.current = ""
        """The link that is being used or tried; empty between sessions."""

    @property
    def connected(self) -> bool:
        """Whether a session is up."""
        return self._link.connected

    def reconsider(self) -> None:
        """End the session if the chooser knows a better link."""
        if self._session is not None and self.current:
            now = asyncio.get_running_loop().time()
            if self._chooser.leave(self.current, now):
                self._left = True
                self._session.cancel()

    async def run(self) -> None:
        """Hold sessions until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            chosen = self._chooser.choose(loop.time())
            if chosen is None:
                await asyncio.sleep(_IDLE_SECONDS)
                continue
            self.current, self._left = chosen, False
            self._session = asyncio.create_task(self._link.session(self._connectors[chosen], self._began))
            try:
                await asyncio.wait([self._session])
            finally:
                self._session.cancel()
                outcome = (await asyncio.gather(self._session, return_exceptions=True))[0]
                was_up = chosen if self._up else ""
                self._up = False
                self._chooser.ended(chosen, loop.time(), self._left)
                self.current, self._session = "", None
            if was_up:
                self._on_change(chosen, "a better link is there" if self._left else str(outcome))

    def _began(self) -> None:
        self._up = True
        self._chooser.connected(self.current, asyncio.get_running_loop().time())
        self._on_change(self.current, "")
