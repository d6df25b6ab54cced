"""One run of a campaign: flown in the twin, struck, drained, and judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from flight.compute.store import JobStore
from ground.errors import ConflictError
from ground.ledger import verify
from hil.campaign.draw import Telecommanded, draw, draw_commands, draw_impairments
from hil.campaign.ear import Ear
from hil.campaign.evidence import LOOK_SECONDS, BoardJob, Evidence, Look, Rest, SatelliteEvidence
from hil.campaign.invariants import Breach, judge
from hil.campaign.result import RunResult, bars
from hil.fault_watch import FaultOutcome, FaultWatch
from hil.twin.effects import TwinEffects
from hil.twin.observe import fates
from hil.twin.run import ALL_JOBS
from hil.twin.workload import Workload, arrivals
from hil.twin.world import TwinSettings, World
from skyrack import logging, orders, virtual
from skyrack.backhaul.memory import Impairments
from skyrack.database import StorageError
from skyrack.dictionary import rpcs
from skyrack.errors import UserError
from skyrack.signing import ORDER, SigningKey
from skyrack.signing.provision import OPERATORS
from skyrack.v1.executive_pb2 import ServiceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flight.bus.publisher import Tap
    from hil.campaign.file import Campaign
    from hil.faults import Fault

PERSON = "campaign"
COMMAND_LIFETIME_SECONDS = 300.0
COMPUTE_DATABASE = "compute/jobs.sqlite"
CLOCK_SECONDS = 10.0
"""A board whose status is this far from the present has another clock, or is down."""
POWER_CYCLE_SECONDS = 5.0
SETTLE_SECONDS = 30.0
ANSWER_SECONDS = 900.0
"""So long an answer at the end may take; the link may be in one of its short gaps."""


class CampaignWorld(World):
    """A twin whose satellites are each listened to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ears = {name: Ear(self.clock) for name in self.designs}
        self.watch = FaultWatch(self.settings.faults, self.designs, self.clock.now())

    def _taps(self, satellite: str) -> tuple[Tap, ...]:
        return (*super()._taps(satellite), self.ears[satellite].hear)


def fly_run(campaign: Campaign, seed: int, faults: Sequence[Fault] | None = None) -> RunResult:
    """Fly a run and judge it; ``faults`` replace those that the seed draws. A run that ends early is broken.

    Raises:
        FileError: a file does not add up.
        UserError: the twin cannot do one of the faults, or what it strikes is not there.
    """
    logging.silence()
    drawn = tuple(draw(campaign, seed) if faults is None else faults)
    begun = time.perf_counter()  # what a run costs is measured on the host; nothing is decided by it
    run = _Run(campaign, seed, drawn)
    try:
        evidence, digest = virtual.run(run.fly)
    except UserError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever ended the run early broke it
        breach = Breach("run", "", f"it ended early: {type(error).__name__}: {error}")
        return RunResult(seed, run.kind, drawn, breaches=(breach,), host_seconds=time.perf_counter() - begun)
    return RunResult(
        seed=seed,
        kind=run.kind,
        faults=drawn,
        outcomes=run.outcomes,
        breaches=judge(evidence, campaign.file),
        host_seconds=time.perf_counter() - begun,
        mission_seconds=evidence.end_seconds,
        digest=digest,
        jobs=fates(list(evidence.jobs)),
        commands=len(evidence.commands),
        looks={satellite.name: satellite.looks for satellite in evidence.satellites},
        bars=bars(evidence),
    )


class _Run:
    def __init__(self, campaign: Campaign, seed: int, faults: tuple[Fault, ...]) -> None:
        self._campaign = campaign
        self._seed = seed
        self._faults = faults
        self._looks: dict[str, list[Look]] = {name: [] for name in campaign.satellites}
        self._sent: list[str] = []
        self._submitted: list[str] = []
        self.kind = faults[0].kind if faults else ""
        self.outcomes: tuple[FaultOutcome, ...] = ()

    async def fly(self) -> tuple[Evidence, str]:
        campaign, file, seed = self._campaign, self._campaign.file, self._seed
        drawn = draw_impairments(campaign, seed)
        impairments = Impairments(drawn.loss_ratio, drawn.duplication_ratio, drawn.reordering_ratio)
        settings = TwinSettings(seed=seed, impairments=impairments, faults=self._faults)
        world = self._world = CampaignWorld(campaign.constellation, campaign.designs, settings)
        start = self._start = world.clock.now()
        work = file.workload
        workload = Workload(
            jobs_per_hour=work.jobs_per_hour, expected_seconds=(work.expected_seconds.low, work.expected_seconds.high)
        )
        peak = min(node.peak_watts for design in world.designs.values() for node in design.nodes)
        jobs = arrivals(workload, random.Random(f"{seed}/workload"), start, start + file.run_seconds, peak)
        services = ("executive", *settings.services)
        commands = draw_commands(campaign, seed, services)
        async with world.running():
            await self._until(file.run_seconds, list(jobs), list(commands))
            await self._mend_clocks()
            await self._put_right()
            await self._until(file.run_seconds + file.drain_seconds, [], [])
            evidence = await self._gather()
            self.outcomes = () if world.watch is None else world.watch.outcomes()
            return evidence, world.digest.hex()

    async def _until(self, end_seconds: float, jobs: list[Any], commands: list[Telecommanded]) -> None:
        world = self._world
        end = self._start + end_seconds
        while world.clock.now() < end:
            now = world.clock.now()
            while jobs and jobs[0].time_seconds <= now:
                arrival = jobs.pop(0)
                with contextlib.suppress(UserError, StorageError):
                    self._submitted.append((await world.ground.submit(arrival.spec, arrival.package)).job_id)
            while commands and self._start + commands[0].at_seconds <= now:
                await self._send(commands.pop(0))
            await world.clock.sleep(min(LOOK_SECONDS, end - now))
            self._look()

    def _look(self) -> None:
        world = self._world
        for name, looks in self._looks.items():
            sensors = world.plant.sensors(name)
            nodes = [node.name for node in world.designs[name].nodes]
            looks.append(
                Look(
                    seconds=world.clock.now() - self._start,
                    sunlit_ratio=sensors["orbit.sunlit_ratio"],
                    state_of_charge_ratio=sensors["battery.state_of_charge_ratio"],
                    chip_celsius=max(sensors[f"thermal.{node}.celsius"] for node in nodes),
                    battery_celsius=sensors["battery.celsius"],
                    rack_watts=sum(sensors[f"load.{node}.watts"] for node in nodes),
                    undervoltage=sensors["bus.undervoltage"] > 0,
                    mode=world.ears[name].mode,
                )
            )

    async def _send(self, command: Telecommanded) -> None:
        rpc = next(rpc for rpc in rpcs() if rpc.name == command.method)
        request = json_format.ParseDict(dict(command.arguments), rpc.request())
        with contextlib.suppress(UserError, ConflictError, StorageError):
            record = await self._world.ground.send(
                command.satellite,
                command.method,
                request,
                service=command.service,
                submitter=PERSON,
                lifetime_seconds=COMMAND_LIFETIME_SECONDS,
            )
            self._sent.append(record.command_id)
            if record.stage == "NEEDS_SIGNATURE":
                await self._approve(record.command_id)

    async def _approve(self, command_id: str) -> None:
        """A second person stands for a critical command."""
        desk = self._world.ground.order_desk
        order, _ = orders.open_order(await desk.order_of(command_id))
        key = SigningKey.from_seed(self._seed, OPERATORS[0])
        await desk.approve(command_id, key.key_id, key.sign(ORDER, order.order))

    async def _mend_clocks(self) -> None:
        """Times of day that jumped are set right; a board that had taken a wrong one over starts anew."""
        world = self._world
        wrong = [name for name, offset in world.clock_offsets.items() if offset]
        for name in wrong:
            world.clock_offsets[name] = 0.0
            if abs(world.ears[name].status.mission_time_seconds - world.clock.now()) > CLOCK_SECONDS:
                TwinEffects(world).cut_power(name, POWER_CYCLE_SECONDS)
        if wrong:
            await world.clock.sleep(SETTLE_SECONDS)

    async def _put_right(self) -> None:
        """What waits for an operator: trips are reset, switches closed, and the safe mode is left."""
        for name, ear in self._world.ears.items():
            nodes = {node.name for node in self._world.designs[name].nodes}
            safe = ear.mode == "SAFE"
            for load in ear.power.loads:
                if load.tripped:
                    await self._tell(name, "ResetTrip", load=load.load)
                if not load.switch_closed and not (safe and load.load in nodes and not load.tripped):
                    await self._tell(name, "SetLoadSwitch", load=load.load, closed=True)
            if safe:
                await self._tell(name, "SetMode", mode="MODE_NOMINAL")

    async def _tell(self, satellite: str, method: str, **arguments: float | str | bool) -> None:
        await self._send(Telecommanded(0.0, satellite, method, "", tuple(arguments.items())))

    async def _gather(self) -> Evidence:
        world, ground = self._world, self._world.ground
        rests = {name: await self._rest(name) for name in self._looks}
        records = [await ground.job(record.job_id) for record in await ground.jobs(limit=ALL_JOBS)]
        commands = [await ground.telecommand(command_id) for command_id in self._sent]
        return Evidence(
            start_seconds=self._start,
            run_seconds=self._campaign.file.run_seconds,
            end_seconds=world.clock.now() - self._start,
            faults=self._faults,
            satellites=tuple(
                SatelliteEvidence(
                    name=name,
                    design=world.designs[name],
                    looks=tuple(looks),
                    events=tuple(world.ears[name].events),
                    modes=tuple(world.ears[name].modes),
                    rest=rests[name],
                )
                for name, looks in self._looks.items()
            ),
            submitted=tuple(self._submitted),
            jobs=tuple(records),
            commands=tuple(commands),
        )

    async def _rest(self, satellite: str) -> Rest:
        world = self._world
        ledger = await verify(world.ground, satellite, PERSON, ANSWER_SECONDS)
        jobs = await self._board_jobs(satellite)
        ear = world.ears[satellite]
        nodes = [node.name for node in world.designs[satellite].nodes]
        return Rest(
            mode=ear.mode,
            services=tuple(
                (service.service, str(ServiceState.Name(service.state)).removeprefix("SERVICE_STATE_"))
                for service in ear.status.services
            ),
            tripped=tuple(load.load for load in ear.power.loads if load.tripped),
            open_loads=tuple(node for node in nodes if not world.plant.read(satellite, f"load.{node}.closed")),
            jobs=jobs,
            ledger=ledger,
        )

    async def _board_jobs(self, satellite: str) -> tuple[BoardJob, ...]:
        """What compute's own store holds open, read as a restarted compute would read it."""
        store = JobStore(self._world.disks[satellite].mount().database(COMPUTE_DATABASE))
        await store.open()
        telling = await store.untold()
        jobs = [job for job in await store.jobs() if not job.state.final]
        return tuple(
            BoardJob(job.job_id, job.attempt, job.state.name, (job.job_id, job.attempt) in telling) for job in jobs
        )
