"""A board in virtual time: the executive and, through it, all services, as tasks of the running loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from flight.executive.launcher import TaskLauncher
from flight.executive.rules import Rule
from flight.executive.run import fly, store_of
from flight.executive.service import Executive
from flight.service import KILLED, registry, run_until_stopped

if TYPE_CHECKING:
    from flight.context import ServiceContext

RESTART_SECONDS: Final = 1.0
"""After so long an executive that was killed is started again, by whoever does so on a board (systemd)."""


class TaskBoard:
    """Flies one satellite, and can lose services or its power on the way.

    ``make_context`` is called with a service's name at each of its starts; what outlives a start is on its disk. The
    service classes must have been imported.
    """

    def __init__(self, make_context: Callable[[str], ServiceContext], rules: tuple[Rule, ...]) -> None:
        self._make_context = make_context
        self._rules = rules
        self._launcher: TaskLauncher | None = None
        self._flight: asyncio.Task[bool] | None = None
        self._killed = False
        self._down_seconds = RESTART_SECONDS

    async def fly(self) -> None:
        """Fly until cancelled."""
        while True:
            self._flight = asyncio.get_running_loop().create_task(fly(self._make_executive()), name=Executive.name)
            try:
                await asyncio.wait([self._flight])
            except asyncio.CancelledError:
                self._flight.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._flight
                raise
            if self._killed:
                await asyncio.sleep(self._down_seconds)
            elif not self._flight.result():
                return

    @property
    def services(self) -> list[str]:
        """Services that run as tasks at this moment."""
        return self._launcher.running if self._launcher is not None else []

    def kill(self, service: str) -> bool:
        """End a service as SIGKILL would; whether there was one to kill. Without its executive no service lives."""
        if service == Executive.name:
            return self.cut_power(RESTART_SECONDS)
        if self._launcher is None or service not in self._launcher.running:
            return False
        self._launcher.kill(service)
        return True

    def cut_power(self, down_seconds: float) -> bool:
        """End all at once and start it again after so long; whether anything ran."""
        if self._flight is None or self._flight.done() or self._launcher is None:
            return False
        self._killed, self._down_seconds = True, down_seconds
        self._launcher.kill_all()
        self._flight.cancel(KILLED)
        return True

    def _make_executive(self) -> Executive:
        self._killed = False
        self._launcher = TaskLauncher(self._service)
        context = self._make_context(Executive.name)
        return Executive(context, self._launcher, store_of(context), self._rules)

    async def _service(self, name: str) -> None:
        await run_until_stopped(registry[name](self._make_context(name)))
