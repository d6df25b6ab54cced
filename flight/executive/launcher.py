"""How services are started and ended: as processes on a board, as tasks in the twin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from flight.service import KILLED


@dataclass(frozen=True, slots=True)
class Exit:
    """How a service ended: in words, and whether it ended as one should that was asked to."""

    clean: bool
    reason: str


OnExit = Callable[[str, Exit], None]
OnLost = Callable[[str], None]


class Launcher(Protocol):
    """Starts services by name. A service that has been started is reported to ``on_exit`` exactly once when it ends.

    ``on_lost`` is called with the reason when all services have ended at once and none can be started any more.
    Nothing here waits, save ``close``. Names of services that do not run are ignored by ``stop`` and ``kill``.
    """

    on_exit: OnExit
    on_lost: OnLost
    # Services need not be pinged more often than this, in host seconds.
    shortest_ping_period_seconds: float

    async def open(self) -> None:
        """Get ready. Raises OSError when processes cannot be started here."""
        ...

    def start(self, service: str) -> None:
        """Start a service that does not run."""
        ...

    def stop(self, service: str) -> None:
        """Ask a service to end cleanly."""
        ...

    def kill(self, service: str) -> None:
        """End a service at once, whatever it does."""
        ...

    async def close(self, grace_seconds: float) -> None:
        """End all services: cleanly within the grace (host seconds), then at once. ``on_exit`` hears nothing of it."""
        ...


def ignore_exit(_service: str, _exit: Exit) -> None:
    """What ``on_exit`` does until somebody listens."""


def ignore_loss(_reason: str) -> None:
    """What ``on_lost`` does until somebody listens."""


class TaskLauncher:
    """Services as tasks of the running loop, made by ``make(service)``: the twin's launcher, and that of tests."""

    # A task hangs with the whole loop or not at all, save for handlers that wait for ever: pings find little here.
    shortest_ping_period_seconds = 30.0

    def __init__(self, make: Callable[[str], Coroutine[Any, Any, object]]) -> None:
        self.on_exit: OnExit = ignore_exit
        self.on_lost: OnLost = ignore_loss
        self._make = make
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._killed: set[str] = set()

    @property
    def running(self) -> list[str]:
        """Services that run."""
        return list(self._tasks)

    async def open(self) -> None:
        return

    def start(self, service: str) -> None:
        if service in self._tasks:
            raise RuntimeError(f"{service} runs already")
        task = asyncio.get_running_loop().create_task(self._make(service), name=service)
        self._tasks[service] = task
        task.add_done_callback(lambda done: self._ended(service, done))

    def stop(self, service: str) -> None:
        if service in self._tasks:
            self._tasks[service].cancel()

    def kill(self, service: str) -> None:
        if service in self._tasks:
            self._killed.add(service)
            self._tasks[service].cancel(KILLED)

    def kill_all(self) -> None:
        """End every service at once, with nobody left to hear of it."""
        self.on_exit = ignore_exit
        for service in self.running:
            self.kill(service)

    async def close(self, grace_seconds: float) -> None:
        self.on_exit = ignore_exit
        # In the order of their start, one after the other: two runs of the twin end alike.
        for task in list(self._tasks.values()):
            task.cancel()
            await asyncio.wait([task], timeout=grace_seconds)
        self._tasks.clear()

    def _ended(self, service: str, task: asyncio.Task[object]) -> None:
        if self._tasks.pop(service, None) is None:
            return
        killed = service in self._killed
        self._killed.discard(service)
        if task.cancelled():
            self.on_exit(service, Exit(clean=not killed, reason="killed by SIGKILL" if killed else "ended"))
            return
        error = task.exception()
        if error is None:
            self.on_exit(service, Exit(clean=True, reason="ended"))
        else:
            self.on_exit(service, Exit(clean=False, reason=f"{type(error).__name__}: {error}"))
