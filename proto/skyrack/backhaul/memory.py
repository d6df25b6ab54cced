"""The backhaul of the twin: a broker in memory, in the event loop's time, that fails as a real one does, by seed."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from skyrack.backhaul import Backhaul, BackhaulError, Connector, LinkState, Will

_QUEUED: Final = 2000


_WIRE: Final = LinkState(up=True)

Damage = Callable[[bytes], bytes]
"""What a link does to a payload that passes it: nothing, mostly."""


@dataclass(frozen=True, slots=True)
class Way:
    """One client's way to a hub: what a gateway is given in place of a broker's URL."""

    hub: MemoryHub
    link: Callable[[], LinkState]
    damage: Damage | None = None

    def connector(self, client: str, subscriptions: Sequence[str], will: Will | None = None) -> Connector:
        """Make sessions over this way."""
        return self.hub.connector(client, subscriptions, will, self.link, self.damage)


@dataclass(frozen=True, slots=True)
class Impairments:
    """Probabilities per message, and the longest extra delay of one that is overtaken."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_seconds: float = 5.0


@dataclass(slots=True)
class HubCounters:
    """What the hub did with messages."""

    published: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    blocked: int = 0
    """Dropped because a link was down."""
    overflowed: int = 0


@dataclass(slots=True, eq=False)
class _Client:
    name: str
    subscriptions: tuple[tuple[str, ...], ...]
    will: Will | None
    link: Callable[[], LinkState]
    damage: Damage | None = None
    waiting: deque[tuple[str, bytes]] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: str = ""
    sending_until: float = 0.0
    receiving_until: float = 0.0
    down_polls: int = 0
    watch: asyncio.TimerHandle | None = None
    life: int = 0


class MemoryHub:
    """A broker for clients in the same event loop.

    Messages take a link's delay and the time that its rate needs; those that meet a link that is down are dropped. A
    session whose link stays down is ended after one to two ``keepalive_seconds``, and the client's will published.
    """

    def __init__(
        self,
        rng: random.Random,
        impairments: Impairments | None = None,
        keepalive_seconds: float = 5.0,
    ) -> None:
        self._rng = rng
        self._impairments = impairments or Impairments()
        self._keepalive_seconds = keepalive_seconds
        self._clients: dict[str, _Client] = {}
        self._retained: dict[str, bytes] = {}
        self._matches: dict[tuple[tuple[str, ...], str], bool] = {}
        self._life = 0
        self._down_until = -float("inf")
        self.counters = HubCounters()
        self.filters: list[Callable[[str, bytes], bytes | None]] = []
        """Each sees every message on its way, and may change or drop it (``None``): where faults are put in."""

    def connector(
        self,
        client: str,
        subscriptions: Sequence[str],
        will: Will | None = None,
        link: Callable[[], LinkState] | None = None,
        damage: Damage | None = None,
    ) -> Connector:
        """Make sessions for a client; without ``link`` it sits beside the broker. A new session ends the old one."""
        patterns = tuple(tuple(topic.split("/")) for topic in subscriptions)

        @asynccontextmanager
        async def connect() -> AsyncIterator[Backhaul]:
            state = link or (lambda: _WIRE)
            if not state().up:
                raise BackhaulError(f"{client}: the link is down")
            if asyncio.get_running_loop().time() < self._down_until:
                raise BackhaulError(f"{client}: the broker does not answer")
            session = _Client(client, patterns, will, state, damage)
            session.life = self._life
            old = self._clients.get(client)
            if old is not None:
                self._end(old, "the client connected again")
            self._clients[client] = session
            if link is not None:
                self._watch(session)
            for topic, payload in self._retained.items():
                self._deliver_if_subscribed(session, topic, payload)
            try:
                yield _Session(self, session)
            finally:
                if self._clients.get(client) is session:
                    del self._clients[client]
                    if session.will and session.gone and session.life == self._life:
                        self._distribute(session.will.topic, session.will.payload, session.will.retain)
                session.gone = session.gone or "closed"
                if session.watch is not None:
                    session.watch.cancel()

        return connect

    def drop(self, client: str) -> None:
        """End a client's session as a broken connection would."""
        session = self._clients.get(client)
        if session is not None:
            self._end(session, "the connection broke")

    def kill(self, down_seconds: float) -> None:
        """Lose all that a broker in memory has, and refuse clients for so long: sessions, wills, what is on its way."""
        self._life += 1
        self._down_until = asyncio.get_running_loop().time() + down_seconds
        for client in list(self._clients.values()):
            client.waiting.clear()
            self._end(client, "the broker went away")
        self._retained.clear()

    def publish(self, sender: _Client, topic: str, payload: bytes, retain: bool) -> None:
        """Take a message from a session."""
        loop = asyncio.get_running_loop()
        self.counters.published += 1
        state = sender.link()
        if not state.up:
            self.counters.blocked += 1
            return
        if sender.damage is not None:
            payload = sender.damage(payload)
        now = loop.time()
        sender.sending_until = max(now, sender.sending_until) + len(payload) * 8 / state.rate_bits_per_second
        at = sender.sending_until + state.delay_seconds
        if at <= now:
            self._distribute(topic, payload, retain)
        else:
            loop.call_at(at, self._through, self._life, sender, topic, payload, retain)

    def _through(self, life: int, sender: _Client, topic: str, payload: bytes, retain: bool) -> None:
        if life == self._life and sender.link().up:
            self._distribute(topic, payload, retain)
        else:
            self.counters.blocked += 1

    def _distribute(self, topic: str, payload: bytes, retain: bool) -> None:
        for change in self.filters:
            changed = change(topic, payload)
            if changed is None:
                return
            payload = changed
        if retain:
            self._retained[topic] = payload
        impairments = self._impairments
        for client in list(self._clients.values()):
            if impairments.loss and self._rng.random() < impairments.loss:
                self.counters.lost += 1
                continue
            self._deliver_if_subscribed(client, topic, payload)
            if impairments.duplication and self._rng.random() < impairments.duplication:
                self.counters.duplicated += 1
                self._deliver_if_subscribed(client, topic, payload)

    def _deliver_if_subscribed(self, client: _Client, topic: str, payload: bytes) -> None:
        if not any(self._match(pattern, topic) for pattern in client.subscriptions):
            return
        loop = asyncio.get_running_loop()
        state = client.link()
        if not state.up:
            self.counters.blocked += 1
            return
        if client.damage is not None:
            payload = client.damage(payload)
        now = loop.time()
        client.receiving_until = max(now, client.receiving_until) + len(payload) * 8 / state.rate_bits_per_second
        at = client.receiving_until + state.delay_seconds
        impairments = self._impairments
        if impairments.reordering and self._rng.random() < impairments.reordering:
            at += self._rng.random() * impairments.reordering_seconds
        if at <= now:
            self._arrive(client, topic, payload)
        else:
            loop.call_at(at, self._arrive, client, topic, payload)

    def _arrive(self, client: _Client, topic: str, payload: bytes) -> None:
        if client.gone or not client.link().up:
            self.counters.blocked += 1
        elif len(client.waiting) >= _QUEUED:
            self.counters.overflowed += 1
        else:
            self.counters.delivered += 1
            client.waiting.append((topic, payload))
            client.arrived.set()

    def _match(self, pattern: tuple[str, ...], topic: str) -> bool:
        key = (pattern, topic)
        known = self._matches.get(key)
        if known is None:
            parts = topic.split("/")
            if pattern and pattern[-1] == "#":
                wanted = pattern[:-1]
                parts = parts[: len(wanted)]
            else:
                wanted = pattern
            known = len(wanted) == len(parts) and all(w in ("+", p) for w, p in zip(wanted, parts, strict=True))
            self._matches[key] = known
        return known

    def _watch(self, client: _Client) -> None:
        """Notice a dead link as keep-alives do."""
        if client.gone:
            return
        client.down_polls = 0 if client.link().up else client.down_polls + 1
        if client.down_polls > 1:
            self._end(client, "no answer to a keep-alive")
            return
        client.watch = asyncio.get_running_loop().call_later(self._keepalive_seconds, self._watch, client)

    def _end(self, client: _Client, reason: str) -> None:
        client.gone = client.gone or reason
        client.arrived.set()


class _Session:
    """A client's session with the hub."""

    def __init__(self, hub: MemoryHub, client: _Client) -> None:
        self._hub = hub
        self._client = client

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self._client.gone:
            raise BackhaulError(f"{self._client.name}: {self._client.gone}")
        self._hub.publish(self._client, topic, payload, retain)

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        client = self._client
        while True:
            while client.waiting:
                yield client.waiting.popleft()
            if client.gone:
                raise BackhaulError(f"{client.name}: {client.gone}")
            client.arrived.clear()
            await client.arrived.wait()
