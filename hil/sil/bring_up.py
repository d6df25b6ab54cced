"""Brings a run up, keeps it up, and ends it so that nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from hil.sil import targets
from hil.sil.instance import Instance, socket_directory
from hil.sil.system import System, SystemSettings
from hil.supervisor import Supervisor, SupervisorError
from skyrack.clock import MissionClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NOTE_SECONDS = 1.0


class Running:
    """A run that is up."""

    def __init__(self, system: System, supervisor: Supervisor) -> None:
        self.system = system
        self.supervisor = supervisor
        self.clock = MissionClock.from_file(system.clock_file)
        self.ground_url = system.ground_url()

    async def until_failed(self) -> str:
        """Wait until a process has ended too often, or the run's directory is gone; the sentence says which."""
        failed = self.supervisor.failed
        if failed is None:
            message = "the supervisor does not run"
            raise RuntimeError(message)
        while not failed.done():
            await asyncio.wait([failed], timeout=NOTE_SECONDS)
            if not self.system.instance.directory.exists():
                return f"{self.system.instance.directory} was removed while it was in use"
        return failed.result()

    async def note_mission_time(self) -> None:
        """Note the time again and again, for the next run of this instance; a full disk makes the note old."""
        while True:
            with contextlib.suppress(OSError):
                self.system.note_mission_time(self.clock)
            await asyncio.sleep(NOTE_SECONDS)


@contextlib.asynccontextmanager
async def brought_up(
    instance: Instance, settings: SystemSettings, on_event: Callable[[str, str], None] = lambda _name, _text: None
) -> AsyncIterator[Running]:
    """Everything runs inside this, and nothing after it.

    Raises:
        UserError: a file does not add up, or the instance runs already.
        SupervisorError: a process did not come up.
    """
    with instance.held(), socket_directory() as run_dir:
        system = System(instance, run_dir, settings)
        programs = system.prepare()
        supervisor = Supervisor(
            programs, status_file=system.supervision_file, run_id=instance.identity(), on_event=on_event
        )
        async with supervisor:
            running = Running(system, supervisor)
            instance.write_record(system.record(os.getpid()))
            targets.write(instance, system.record(os.getpid()))
            noting = asyncio.create_task(running.note_mission_time())
            try:
                yield running
            finally:
                noting.cancel()
                with contextlib.suppress(OSError):
                    instance.record_path.unlink(missing_ok=True)
                    targets.path_of(instance).unlink(missing_ok=True)
                    system.note_mission_time(running.clock)


__all__ = ["Running", "SupervisorError", "brought_up"]
