"""Brings a run up, keeps it up, and ends it so that nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from flight.board import SERVICES
from hil.fault_control import FaultControl
from hil.sil import targets
from hil.sil.effects import ProcessEffects
from hil.sil.instance import Instance, socket_directory
from hil.sil.system import System, SystemSettings
from hil.supervisor import Supervisor, SupervisorError
from skyrack.clock import MissionClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NOTE_SECONDS = 1.0


class Running:
    """A run that is up."""

    def __init__(self, system: System, supervisor: Supervisor, effects: ProcessEffects) -> None:
        self.system = system
        self.supervisor = supervisor
        self.clock = MissionClock.from_file(system.clock_file)
        self.ground_url = system.ground_url()
        self.effects = effects
        """What faults may do to this run."""
        self._control: FaultControl | None = None

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

    async def take_faults(self, on_event: Callable[[str, str], None]) -> None:
        """Carry out the schedule of faults, and take more over the control socket."""
        start = self.clock.anchor.mission_time_seconds
        self._control = FaultControl(self.effects, self.clock, start, self.system.faults, on_event)
        await self._control.open(self.system.run_dir)

    async def leave_faults(self) -> None:
        """Take no more."""
        if self._control is not None:
            await self._control.close()
        self.effects.close()

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
        effects = ProcessEffects(system, supervisor, SERVICES)
        for fault in system.faults:
            effects.check(fault)
        async with supervisor:
            running = Running(system, supervisor, effects)
            instance.write_record(system.record(os.getpid()))
            targets.write(instance, system.record(os.getpid()))
            noting = asyncio.create_task(running.note_mission_time())
            await running.take_faults(on_event)
            try:
                yield running
            finally:
                noting.cancel()
                await running.leave_faults()
                with contextlib.suppress(OSError):
                    instance.record_path.unlink(missing_ok=True)
                    targets.path_of(instance).unlink(missing_ok=True)
                    system.note_mission_time(running.clock)


__all__ = ["Running", "SupervisorError", "brought_up"]
