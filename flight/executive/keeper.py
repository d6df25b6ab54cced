"""Carries out what supervision orders: starts, pings and kills services through a launcher."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from flight.executive.launcher import Exit, Launcher
from flight.executive.supervision import GiveUp, Kill, Order, Start, State, Supervision

Ping = Callable[[str, float], Awaitable[bool]]
"""Ask a service whether it lives, within so many host seconds; False when no answer came."""


class Listener(Protocol):
    """Who wants to know what becomes of services."""

    def service_up(self, service: str) -> None:
        """It answered for the first time since its start."""

    def service_hung(self, service: str) -> None:
        """It did not answer, and is being killed."""

    def service_ended(self, service: str, ended: Exit, restart_in_seconds: float | None) -> None:
        """It ended; ``None`` is no restart: it ended too often."""

    def service_failed(self, service: str) -> None:
        """It was given up; its state is FAILED now."""


@dataclass(slots=True)
class _Running:
    ping: asyncio.Task[Any] | None = None
    start: asyncio.TimerHandle | None = None


class Keeper:
    """Keeps the services of a supervision alive. Times are those of the loop: processes live in host time."""

    def __init__(
        self,
        supervision: Supervision,
        launcher: Launcher,
        ping: Ping,
        spawn: Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]],
        listener: Listener,
    ) -> None:
        self.supervision = supervision
        self._launcher = launcher
        self._ping = ping
        self._spawn = spawn
        self._listener = listener
        self._running = {name: _Running() for name in supervision.services}
        self._open = False

    async def open(self) -> None:
        """Start every service. Raises OSError when the launcher cannot start any."""
        self._launcher.on_exit = self._ended
        await self._launcher.open()
        self._open = True
        for name in self.supervision.services:
            self._obey(self.supervision.start(name))

    async def close(self, grace_seconds: float) -> None:
        """End every service: cleanly within the grace, then at once."""
        self._open = False
        for name in self._running:
            self._let_be(name)
        await self._launcher.close(grace_seconds)

    def start(self, service: str) -> None:
        """Start a service that is off or was given up, with a clean record."""
        self._obey(self.supervision.start(service))

    def restart(self, service: str) -> None:
        """End a service and start it again; does not count against the bound."""
        self._obey(self.supervision.restart(service))

    def _obey(self, orders: list[Order]) -> None:
        loop = asyncio.get_running_loop()
        for order in orders:
            match order:
                case Start(service, delay):
                    self._running[service].start = loop.call_later(delay, self._start, service)
                case Kill(service):
                    self._launcher.kill(service)
                case GiveUp(service):
                    self._listener.service_failed(service)

    def _start(self, service: str) -> None:
        if self._open:
            self._launcher.start(service)
            self.supervision.started(service)
            self._running[service].ping = self._spawn(self._watch(service), f"ping {service}")

    async def _watch(self, service: str) -> None:
        """Ping a service from its start to its end."""
        loop = asyncio.get_running_loop()
        managed = self.supervision.services[service]
        while True:
            liveness = self.supervision.liveness
            starting = managed.state is State.STARTING
            deadline = liveness.start_deadline_seconds if starting else liveness.deadline_seconds
            sent = loop.time()
            if await self._ping(service, deadline):
                if self.supervision.answered(service, loop.time() - sent):
                    self._listener.service_up(service)
            else:
                orders = self.supervision.silent(service)
                if orders:
                    self._listener.service_hung(service)
                    self._obey(orders)
                    return
            await asyncio.sleep(liveness.period_seconds)

    def _ended(self, service: str, ended: Exit) -> None:
        self._let_be(service)
        orders = self.supervision.ended(service, asyncio.get_running_loop().time())
        delay = next((order.delay_seconds for order in orders if isinstance(order, Start)), None)
        self._listener.service_ended(service, ended, delay)
        self._obey(orders)

    def _let_be(self, service: str) -> None:
        running = self._running[service]
        if running.ping is not None:
            running.ping.cancel()
        if running.start is not None:
            running.start.cancel()
        self._running[service] = _Running()
