"""The driver ``remote.rack_node``: see the package's docstring.

Settings: ``address`` ("tcp://pi-2.local:7400"), ``server_key`` (the node's public key), ``key_file`` (this board's
key, made when absent), ``patience_seconds`` (host seconds of silence after which its work counts as lost).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from flight.hal import DeviceEnvironment, DeviceError, NodeState, Quality, Reading, Work, WorkReport, WorkState
from hil.devices.options import Options
from hil.devices.rack import Ratings, Supply
from hil.devices.remote_node import wire
from hil.devices.remote_node.far_end import POLL_SECONDS, FarEnd, FarEndError, SilentError
from hil.devices.remote_node.keys import checked, read_or_make
from hil.devices.remote_node.work import Phase, RemoteWork, kept
from skyrack.archive import ArchiveError
from skyrack.errors import UserError

BETWEEN_POLLS_SECONDS = 0.25
PATIENCE_SECONDS = 60.0


class RemoteRackNode:
    """See the module's docstring."""

    def __init__(
        self, name: str, ratings: Ratings, environment: DeviceEnvironment, far_end: FarEnd, patience_seconds: float
    ) -> None:
        if environment.state_dir is None:
            raise DeviceError(f"{name}: it needs a state directory, and the run gives none")
        self.idle_watts = ratings.idle_watts
        self.peak_watts = ratings.peak_watts
        self._name = name
        self._clock = environment.clock
        self._supply = Supply(name, environment)
        self._far_end = far_end
        self._patience = patience_seconds
        self._base = environment.state_dir / "nodes" / name.removeprefix("node.")
        self._cap_watts = ratings.peak_watts
        self._works = kept(self._base)
        self._standing: wire.Standing | None = None
        self._heard = -math.inf
        self._heard_mission_seconds = environment.clock.now()
        self._began = 0.0
        self._problem = "it was not heard of yet"
        self._polling: asyncio.Task[None] | None = None
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def read(self) -> Reading[NodeState]:
        """Draw, power, work that runs, as of the last poll."""
        self._ensure_polling()
        running = tuple(sorted(work_id for work_id, work in self._works.items() if work.open))
        standing = self._standing
        powered = self._supply.is_closed()
        if standing is None or self._silent:
            # A board that nobody hears may well draw what it drew.
            state = NodeState(powered, 0.0 if standing is None else standing.draw_watts, self._cap_watts, running)
            return Reading(state, self._heard_mission_seconds, Quality.ABSENT, f"{self._name}: {self._problem}")
        draw = standing.draw_watts if powered else 0.0
        state = NodeState(powered and standing.powered, draw, self._cap_watts, running)
        return Reading(state, self._heard_mission_seconds, Quality.GOOD, standing.problem)

    async def start(self, work: Work) -> None:
        """Begin, or adopt. Returns before the files are over there: see :meth:`report`.

        Raises:
            DeviceError: the node is off, busy, or does not answer.
        """
        self._ensure_polling()
        if work.work_id in self._works:
            return
        if not self._supply.is_closed():
            raise DeviceError(f"{self._name} is switched off; close its load switch")
        busy = [work_id for work_id, other in self._works.items() if other.open]
        if busy:
            raise DeviceError(f"{self._name} runs {busy[0]}; a node runs one job at a time")
        if work.work_dir is None:
            raise DeviceError(f"{self._name}: {work.work_id} has no directory to run in")
        if self._silent:
            raise DeviceError(f"{self._name}: {self._problem}")
        remote = self._works[work.work_id] = RemoteWork.new(self._base, work)
        self._do(work.work_id, self._begin(remote, work))

    async def stop(self, work_id: str) -> None:
        """Ask to end."""
        work = self._works.get(work_id)
        if work is not None and work.open:
            work.stop = True
            self._wake.set()

    async def report(self, work_id: str) -> WorkReport | None:
        """What is known of this work. It runs until all that it left is here."""
        self._ensure_polling()
        work = self._works.get(work_id)
        return None if work is None else work.report

    async def forget(self, work_id: str) -> None:
        """Drop what is kept of an ended work, here and over there."""
        work = self._works.get(work_id)
        if work is not None and not work.open:
            del self._works[work_id]
            work.remove()
            self._wake.set()

    async def set_power_cap(self, watts: float) -> None:
        """Draw at most this from now on."""
        self._cap_watts = max(self.idle_watts, min(self.peak_watts, watts))
        self._wake.set()

    async def close(self) -> None:
        """Let go; what runs runs on."""
        tasks = [*self._doing.values(), *([self._polling] if self._polling is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._far_end.close()

    @property
    def _silent(self) -> bool:
        return asyncio.get_running_loop().time() - self._heard > 2 * POLL_SECONDS

    def _ensure_polling(self) -> None:
        if self._polling is None:
            self._began = asyncio.get_running_loop().time()
            self._polling = asyncio.get_running_loop().create_task(self._poll(), name=f"{self._name}.poll")

    async def _poll(self) -> None:
        # Boards and their network live in the host's time.
        while True:
            powered = self._supply.is_closed()
            if not powered:
                self._lose(f"{self._name} lost its power")
            asked = asyncio.get_running_loop().time()
            try:
                self._standing = await self._far_end.ask(
                    wire.Poll(powered, self._cap_watts), wire.Standing, POLL_SECONDS
                )
                self._heard = asyncio.get_running_loop().time()
                self._heard_mission_seconds = self._clock.now()
                await self._settle(self._standing, asked)
                if powered:
                    self._supply.tell_draw(self._standing.draw_watts)
            except FarEndError as error:
                self._problem = str(error)
                silent_since = max(self._heard, self._began)
                if asyncio.get_running_loop().time() - silent_since > self._patience:
                    self._lose(f"{self._name} was silent for {self._patience:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), BETWEEN_POLLS_SECONDS)
            self._wake.clear()

    def _lose(self, reason: str) -> None:
        for work in self._works.values():
            if work.open:
                work.lose(reason)

    async def _settle(self, standing: wire.Standing, asked: float) -> None:
        """Bring every work up to date with what the node said when it was asked at a host time."""
        for work_id in standing.reports.keys() - self._works.keys():
            # Lost to us, or forgotten: nobody wants it any more.
            await self._far_end.ask(wire.Forget(work_id), wire.Done)
        for work_id, work in list(self._works.items()):
            said = standing.reports.get(work_id)
            if not work.open:
                if said is not None:
                    await self._far_end.ask(wire.Forget(work_id), wire.Done)
            elif said is None:
                if work.phase is Phase.RUNNING and asked >= work.begun_seconds:
                    work.lose(f"{self._name} knows nothing of it any more")
            elif work_id not in self._doing:
                work.phase = Phase.RUNNING
                if work.stop and said.state is WorkState.RUNNING:
                    await self._far_end.ask(wire.Stop(work_id), wire.Done)
                self._follow(work, said, standing.marks.get(work_id, ""))

    def _follow(self, work: RemoteWork, said: WorkReport, mark: str) -> None:
        if said.state is not WorkState.RUNNING:
            self._do(work.work_id, self._bring_home(work, said))
            return
        work.keep(said)
        if mark and mark != work.mark:
            self._do(work.work_id, self._fetch_checkpoint(work, mark))

    def _do(self, work_id: str, doing: Coroutine[Any, Any, None]) -> None:
        """One thing at a time for each work; polls go on meanwhile."""
        task = asyncio.get_running_loop().create_task(doing, name=f"{self._name}.{work_id}")
        self._doing[work_id] = task
        # Work of the same id that was begun anew meanwhile has a task of its own.
        task.add_done_callback(lambda done: self._doing.pop(work_id) if self._doing.get(work_id) is done else None)

    async def _begin(self, remote: RemoteWork, work: Work) -> None:
        try:
            # An earlier run of it, ended and kept here, may still lie there.
            await self._far_end.ask(wire.Forget(work.work_id), wire.Done)
            for area in wire.SENT:
                await self._far_end.send_area(work.work_id, area, remote.area(area))
            await self._far_end.ask(_order(work), wire.Done)
            if remote.open:
                remote.phase, remote.begun_seconds = Phase.RUNNING, asyncio.get_running_loop().time()
                remote.keep(remote.report)
        except (FarEndError, OSError, ArchiveError) as error:
            remote.lose(f"{self._name} could not begin it: {error}")

    async def _bring_home(self, work: RemoteWork, said: WorkReport) -> None:
        """Its end is told when all that it left is here, so that nothing of a board that dies next is missed."""
        try:
            for area in wire.FETCHED if said.state is WorkState.EXITED else wire.FETCHED[1:]:
                if not await self._far_end.fetch_area(work.work_id, area, work.area(area)):
                    return
            if work.open:
                work.finish(said)
        except SilentError:
            return
        except (FarEndError, OSError, ArchiveError) as error:
            work.lose(f"{self._name} could not hand over what it left: {error}")

    async def _fetch_checkpoint(self, work: RemoteWork, mark: str) -> None:
        # One that changes under the copy is left for the next poll: half a checkpoint is none.
        with contextlib.suppress(FarEndError, OSError, ArchiveError):
            if await self._far_end.fetch_area(work.work_id, "checkpoint", work.area("checkpoint")):
                work.mark = mark


def _order(work: Work) -> wire.Start:
    return wire.Start(
        work_id=work.work_id,
        command=work.command,
        power_watts=work.power_watts,
        memory_bytes=work.memory_bytes,
        cores=work.cores,
        grace_seconds=work.grace_seconds,
        limit_seconds=work.limit_seconds,
        expected_seconds=work.expected_seconds,
        disk_bytes=work.disk_bytes,
        checkpoint=work.checkpoint,
        environment=dict(work.environment),
    )


def rack_node(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> RemoteRackNode:
    """Entry point ``remote.rack_node``."""
    options = Options(name, settings, ("address", "server_key", "key_file", "patience_seconds"))
    address = options.text("address")
    if not address.startswith("tcp://"):
        raise DeviceError(f'{name}: address = "{address}" must be like tcp://pi-2.local:7400')
    try:
        server_key = checked(options.text("server_key"), f"{name}: server_key")
        pair = read_or_make(Path(options.text("key_file")))
    except UserError as error:
        raise DeviceError(f"{name}: {error}") from error
    far_end = FarEnd(address, server_key, pair)
    patience = options.number("patience_seconds", PATIENCE_SECONDS, 1.0)
    return RemoteRackNode(name, Ratings.of(name, environment), environment, far_end, patience)
