"""A bench that flies: broker, plant and ground here, services on the boards, and what is seen and measured of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from flight.record import record
from flight.recording import Recorder
from ground.client import SkyrackClient, UnreachableError, is_settled
from hil.boards.client import AgentClient, AgentError, BoardLostError, Place
from hil.boards.derive import Derived, derive
from hil.boards.file import BenchFile, load_bench_and_designs
from hil.boards.kept import NODE
from hil.boards.samples import Sample, sample_of
from hil.boards.session import BOARDS_FILE, BoardSession, BoardView, place_of, run_identity
from hil.instruments.bench import start_following
from hil.plant.client import RemotePlantLink
from hil.sil.bring_up import Running, brought_up
from hil.sil.instance import Instance
from hil.sil.system import SystemSettings
from skyrack import jobfile
from skyrack.v1 import job_pb2

LOOK_SECONDS = 0.25
PackedJob = tuple[str, job_pb2.JobSpec, bytes]
"""Name of a job's folder, what it is, and its package."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What to fly. ``rate`` None takes the bench file's."""

    bench: Path
    rate: float | None = None
    http_port: int = 0
    jobs: tuple[Path, ...] = ()
    record: Path | None = None
    faults: Path | None = None


@dataclass(slots=True)
class BenchView:
    """What there is to be seen at a moment."""

    mission_time_seconds: float
    boards: list[BoardView] = field(default_factory=list)
    satellites: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    truth: dict[str, Mapping[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class BenchRun:
    """A bench that is up."""

    def __init__(
        self, running: Running, bench: BenchFile, derived: Derived, sessions: Sequence[BoardSession], notes: list[str]
    ) -> None:
        self.running = running
        self.bench = bench
        self.derived = derived
        self.sessions = tuple(sessions)
        self.notes = notes
        self.samples: list[Sample] = []
        self.began_at = running.clock.now()
        self.tasks: list[asyncio.Task[Any]] = []
        self.plant = RemotePlantLink(running.system.plant_url)
        self._submitted = False
        self._jobs: list[dict[str, Any]] = []
        self._satellites: list[dict[str, Any]] = []
        self._last_sample: dict[str, float] = {}
        for satellite in derived.designs:
            self.plant.sensors(satellite)

    def look(self) -> BenchView:
        """Take the present in."""
        truth = {name: self.plant.sensors(name) for name in self.derived.designs}
        now = self.running.clock.now()
        for satellite in dict.fromkeys(session.board.satellite for session in self.sessions):
            # A sample for a step of the plant, no more.
            if truth[satellite] and now - self._last_sample.get(satellite, float("-inf")) >= 1.0:
                self._last_sample[satellite] = now
                for session in self.sessions:
                    if session.board.satellite == satellite:
                        self.samples.append(sample_of(session.view, self._nodes_of(session), truth[satellite], now))
        return BenchView(
            now, [session.view for session in self.sessions], self._satellites, self._jobs, truth, list(self.notes)
        )

    async def ask_ground(self, jobs: Sequence[PackedJob]) -> None:
        """Ask satellites and jobs, again and again; submit ``jobs`` when all satellites are nominal."""
        packages = list(jobs)
        with SkyrackClient(self.running.ground_url) as client:
            while True:
                # The ground may be on its way back from a restart.
                with contextlib.suppress(UnreachableError):
                    self._satellites = await asyncio.to_thread(client.satellites)
                    self._jobs = await asyncio.to_thread(client.jobs)
                    ready = self._satellites and all(each["mode"] == "nominal" for each in self._satellites)
                    if packages and ready:
                        number = len(jobs) - len(packages) + 1
                        folder, spec, package = packages[0]
                        # Another run of this name goes on from this one's time, and has other jobs.
                        name = f"{folder}-{number}-{int(self.began_at) % 1_000_000}"
                        await asyncio.to_thread(client.submit, spec, package, name)
                        del packages[0]
                self._submitted = not packages
                await asyncio.sleep(0.5)

    def broken(self) -> str:
        """Why something that watches the bench has ended; empty while all is well."""
        for task in self.tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                return f"{task.get_name()}: {error}"
        return ""

    def jobs_are_over(self) -> bool:
        """Whether all jobs that were asked for were submitted, and nothing more will come of any."""
        return self._submitted and bool(self._jobs) and all(map(is_settled, self._jobs))

    def close(self) -> None:
        """Let go of the plant."""
        self.plant.close()

    def _nodes_of(self, session: BoardSession) -> list[str]:
        """Rack nodes that a board is: the one that flies is all of those that no other board is."""
        if session.board.rack_node:
            return [session.board.rack_node]
        rack = self.derived.racks.get(session.board.satellite)
        others = {seat.node for seat in rack.seats} if rack is not None else set()
        nodes = self.derived.designs[session.board.satellite].nodes
        return [node.name for node in nodes if node.name not in others]


def _kill_on_board(run: BenchRun, satellite: str, tell: Callable[[str, str], None], service: str) -> None:
    """A fault kills a service, or a rack node, on its board; what comes of it is told."""
    node = service.removeprefix(NODE) if service.startswith(NODE) else ""
    session = next(each for each in run.sessions if (each.board.satellite, each.board.rack_node) == (satellite, node))

    async def kill() -> None:
        client = session.client
        if client is None:
            tell(session.board.name, f"{service} could not be killed: the board is not reached")
            return
        try:
            await client.ask("kill", service=service)
        except (AgentError, BoardLostError) as error:
            tell(session.board.name, f"{service} could not be killed: {error}")

    _killing.add(task := asyncio.get_running_loop().create_task(kill()))
    task.add_done_callback(_killing.discard)


_killing: set[asyncio.Task[None]] = set()


@contextlib.asynccontextmanager
async def flying(
    instance: Instance, settings: BenchSettings, on_event: Callable[[str, str], None] = lambda _name, _text: None
) -> AsyncIterator[BenchRun]:
    """A bench is up inside this, and nothing of it afterwards, save on boards that could not be told: that is said.

    Raises:
        UserError: a file does not add up, the instance runs already, or a board cannot be reached.
        SupervisorError: a process here did not come up.
    """
    bench, constellation, designs = load_bench_and_designs(settings.bench)
    jobs = [(path.absolute().parent.name, *jobfile.package(path)) for path in settings.jobs]
    derived = derive(bench, constellation, designs, instance.directory / "bench")
    notes: list[str] = list(derived.notes)
    places = {board.name: place_of(board, instance.directory, instance.name) for board in bench.boards}
    system_settings = SystemSettings(
        derived.constellation,
        bench.rate if settings.rate is None else settings.rate,
        http_port=settings.http_port,
        faults=settings.faults,
        elsewhere=frozenset(board.satellite for board in bench.boards),
        nodes_elsewhere={
            satellite: frozenset(f"node.{seat.node}" for seat in rack.seats)
            for satellite, rack in derived.racks.items()
        },
        over_tcp=any(places[board.name].ssh is not None for board in bench.boards if not board.rack_node),
    )

    def tell(name: str, text: str) -> None:
        notes.append(f"{name} {text}")
        on_event(name, text)

    # Before anything is up: what is wrong with a board is known in a second.
    await _probe([place for place in places.values() if place.ssh is not None])
    async with brought_up(instance, system_settings, tell) as running:
        run_id = run_identity(instance.identity())
        sessions = [
            BoardSession(board, places[board.name], running.system, derived, run_id, tell) for board in bench.boards
        ]
        _write_boards(instance, settings.bench, sessions)
        run: BenchRun | None = None
        try:
            # One after the other would add up; the first that fails ends it.
            await _connect(sessions)
            run = BenchRun(running, bench, derived, sessions, notes)
            for satellite in dict.fromkeys(board.satellite for board in bench.boards):
                running.effects.elsewhere[satellite] = partial(_kill_on_board, run, satellite, tell)
            run.tasks += [asyncio.create_task(session.run(), name=session.board.name) for session in sessions]
            run.tasks.append(asyncio.create_task(run.ask_ground(jobs), name="ground"))
            run.tasks += start_following(bench.instruments, run.plant, running.clock, tell)
            if settings.record is not None:
                run.tasks.append(asyncio.create_task(_record(settings.record, run, tell), name="record"))
            yield run
        finally:
            tasks = run.tasks if run is not None else []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for session, told in zip(
                sessions, await asyncio.gather(*(session.stop() for session in sessions)), strict=True
            ):
                if not told and session.view.link != "connecting":
                    tell(session.board.name, "could not be told to end: its services go on until it is reached again")
            (instance.directory / BOARDS_FILE).unlink(missing_ok=True)
            if run is not None:
                run.close()


async def _record(file: Path, run: BenchRun, tell: Callable[[str, str], None]) -> None:
    """Keep what is published on the buses of this computer, until cancelled."""
    system = run.running.system
    buses = {name: system.run_dir / name for name in system.names}
    for session in run.sessions:
        if session.board.rack_node:
            continue
        if session.is_remote:
            del buses[session.board.satellite]
            tell(session.board.name, "is not recorded from here: run 'skyrack record' on it")
        else:
            buses[session.board.satellite] = Path(str(session.view.hello["run_dir"]))
    if buses:
        await record(Recorder(file, {"satellites": sorted(buses)}), buses, run.running.clock, asyncio.Event())


async def _probe(places: Sequence[Place]) -> None:
    """Reach each board once. Raises BoardLostError for the first that cannot be reached."""
    found = await asyncio.gather(*(AgentClient.open(place) for place in places), return_exceptions=True)
    for client in found:
        if isinstance(client, AgentClient):
            await client.close()
    for error in found:
        if isinstance(error, BaseException):
            raise error


async def _connect(sessions: Sequence[BoardSession]) -> None:
    tasks = [asyncio.create_task(session.connect()) for session in sessions]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write_boards(instance: Instance, bench: Path, sessions: Sequence[BoardSession]) -> None:
    boards = [
        {
            "name": session.board.name,
            "satellite": session.board.satellite,
            "rack_node": session.board.rack_node,
            "address": session.place.address,
            "python": session.place.python,
            "directory": session.place.directory,
        }
        for session in sessions
    ]
    path = instance.directory / BOARDS_FILE
    path.write_text(json.dumps({"bench": str(bench), "boards": boards}, indent=1) + "\n")


async def fly(
    instance: Instance,
    settings: BenchSettings,
    seconds: float | None,
    on_up: Callable[[BenchRun], Callable[[BenchView], None]],
) -> tuple[BenchRun, BenchView, str]:
    """Fly a bench for so many mission seconds, or until cancelled; the run, the last view, and what went wrong.

    ``on_up`` is called once, and returns what views are shown by.

    Raises: as :func:`flying`.
    """
    async with flying(instance, settings) as run:
        show = on_up(run)
        failing = asyncio.create_task(run.running.until_failed())
        until = None if seconds is None else run.began_at + seconds
        view = run.look()
        problem = ""
        with contextlib.suppress(asyncio.CancelledError):
            while not failing.done() and not problem:
                view = run.look()
                show(view)
                if until is not None and view.mission_time_seconds >= until:
                    break
                await asyncio.sleep(LOOK_SECONDS)
                problem = run.broken()
        if failing.done():
            problem = failing.result()
        failing.cancel()
    view.notes = list(run.notes)
    return run, view, problem
