"""Everything there is in a twin run, put together: one plant, one hub, one ground, and N satellites."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import zmq

from flight.board import DRIVERS_OF_THE_TWIN, SERVICES, SHIPPED_RULES
from flight.bus import Endpoints
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.executive.run import rules_for
from flight.executive.tasks import RESTART_SECONDS, TaskBoard
from flight.hal import DeviceEnvironment
from flight.meter import NullMeter
from flight.process import EXECUTIVE, parameters_for, service_class
from flight.recording import Recorder
from ground.segment import SUBSCRIPTIONS, GroundSegment
from hil.fault_schedule import FaultSchedule
from hil.fault_watch import FaultWatch, Truth
from hil.faults import GROUND
from hil.plant.local import LocalPlantLink
from hil.plant.plant import Plant
from hil.plant.runner import run_plant
from hil.twin.clocks import ShiftedLink
from hil.twin.effects import BitFlips, TwinEffects
from hil.twin.ground_store import TwinGroundStore
from skyrack.backhaul.memory import Impairments, MemoryHub, Way
from skyrack.clock import MissionClock
from skyrack.disk import MemoryDisk
from skyrack.satellite import load_constellation
from skyrack.signing import SigningKey, seeded_ring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from flight.bus.publisher import Tap
    from flight.executive.rules import Rule
    from hil.faults import Fault
    from hil.plant.link import PlantLink
    from skyrack.satellite import ConstellationFile, SatelliteFile

LINKS = ("optical", "antenna")
LOOK_SECONDS = 5.0
"""How often the truth is looked at for what becomes of faults."""


@dataclass(frozen=True, slots=True)
class TwinSettings:
    """What a twin run is made of; ``rules`` is a file of fault rules, the shipped one when absent.

    ``faults`` count from the run's start.
    """

    seed: int = 0
    impairments: Impairments = field(default_factory=Impairments)
    services: tuple[str, ...] = SERVICES
    rules: Path | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class Digest:
    """A hash of everything that was published, in order, and how much that was."""

    messages: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, *parts: bytes) -> None:
        """Take one message in."""
        self.messages += 1
        self._hash.update(b"".join(parts))

    def hex(self) -> str:
        """The hash so far."""
        return str(self._hash.hexdigest())


class World:
    """A twin run; enter it inside a virtual loop."""

    @classmethod
    def loader(
        cls, path: Path, settings: TwinSettings | None = None, satellites: int | None = None, record: Path | None = None
    ) -> Callable[[], World]:
        """Read the files now; the world is made later, inside its loop.

        Raises:
            FileError: constellation or satellite file do not add up.
        """
        constellation, designs = load_constellation(path)
        if satellites is not None:
            kept = constellation.satellites[:satellites]
            constellation = msgspec.structs.replace(constellation, satellites=kept)
            designs = {satellite.name: designs[satellite.name] for satellite in kept}
        return lambda: cls(constellation, designs, settings, record)

    def __init__(
        self,
        constellation: ConstellationFile,
        designs: dict[str, SatelliteFile],
        settings: TwinSettings | None = None,
        record: Path | None = None,
    ) -> None:
        self.settings = settings or TwinSettings()
        self.extra_taps: tuple[Tap, ...] = ()
        """Hear what every service publishes, beside the digest; set them before the world runs."""
        self.watch: FaultWatch | None = None
        """Hears and sees what becomes of faults; set it before the world runs."""
        self._record = record
        self._recorder: Recorder | None = None
        self.constellation = constellation
        self.designs = designs
        self.digest = Digest()
        seed = self.settings.seed
        start = constellation.epoch_seconds + constellation.start_seconds
        self.clock = MissionClock.starting_at(start)
        self.plant = Plant(constellation, designs, start, rng=np.random.default_rng(seed))
        self.link = LocalPlantLink(self.plant)
        self.hub = MemoryHub(self._rng("hub"), self.settings.impairments)
        self.hub.filters.append(self._hash_frame)
        self.bit_flips = BitFlips()
        self._lives: Counter[tuple[str, ...]] = Counter()
        self._ground_store = TwinGroundStore()
        self._ground_ring = seeded_ring(seed, designs)
        self.ground = self._make_ground()
        """The ground as of now: one that is killed is followed by another on the same database."""
        self._ground_run: asyncio.Task[None] | None = None
        self._ground_killed = False
        self.clock_offsets = dict.fromkeys(designs, 0.0)
        """Seconds by which the time of day of each satellite's computer is ahead."""
        self._clocks: dict[str, tuple[MissionClock, PlantLink]] = {}
        # One for each: a list of keys reaches every satellite in its own time.
        self._rings = {name: seeded_ring(seed, designs) for name in designs}
        self.boards: dict[str, TaskBoard] = {}
        """Of each satellite that flies."""
        self.disks = {name: MemoryDisk() for name in designs}
        """What each satellite's board keeps over its restarts."""
        self._zmq: zmq.Context[Any] = zmq.Context(io_threads=0)
        self._incarnations = itertools.count(1)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Everything runs inside this; it ends with it."""
        for service in (EXECUTIVE, *self.settings.services):
            service_class(service)
        if self._record is not None:
            about = {"constellation": self.constellation.name, "seed": self.settings.seed}
            self._recorder = Recorder(self._record, about)
        await self.ground.open()
        tasks = self._start()
        body = asyncio.current_task()

        def failed(task: asyncio.Task[None]) -> None:
            # Whoever dies takes the run with it: a twin that goes on without its plant would lie.
            if not task.cancelled() and task.exception() is not None and body is not None:
                body.cancel()

        for task in tasks:
            task.add_done_callback(failed)
        try:
            yield self
        finally:
            for task in reversed(tasks):
                task.remove_done_callback(failed)
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self.ground.close()
            self._zmq.destroy(linger=0)
            if self._recorder is not None:
                self._recorder.close()
            for result in results:
                if isinstance(result, Exception):
                    raise result

    def _start(self) -> list[asyncio.Task[None]]:
        # First what may be refused, while nothing has begun.
        faults = FaultSchedule(self.settings.faults, self.clock.now(), TwinEffects(self))
        parts = {"plant": run_plant(self.plant, self.clock), GROUND: self._keep_ground()}
        parts |= {name: self._fly(name) for name in self.designs}
        if self.settings.faults:
            parts["faults"] = faults.run(self.clock)
        if self.watch is not None:
            parts["watch"] = self._look(self.watch)
        return [asyncio.create_task(part, name=name) for name, part in parts.items()]

    @property
    def services(self) -> tuple[str, ...]:
        """Services of every satellite."""
        return (EXECUTIVE, *self.settings.services)

    def kill_ground(self) -> None:
        """End the ground as SIGKILL would; it is started again a moment later."""
        if self._ground_run is not None and not self._ground_run.done():
            self._ground_killed = True
            self.hub.drop(GROUND)
            self._ground_run.cancel()

    def fill_ground(self, *, full: bool) -> None:
        """Let nothing more fit on the ground's disk, or anything again."""
        self._ground_store.fill(full=full)

    def set_clock(self, satellite: str) -> None:
        """The satellite's computer starts anew: its mission time is what its time of day says."""
        offset = self.clock_offsets[satellite]
        clock = MissionClock.starting_at(self.clock.now() + offset)
        self._clocks[satellite] = (clock, ShiftedLink(self.link, offset)) if offset else (self.clock, self.link)

    def _make_ground(self) -> GroundSegment:
        seed = self.settings.seed
        return GroundSegment(
            self.designs,
            key=SigningKey.from_seed(seed, GROUND),
            ring=self._ground_ring,
            clock=self.clock,
            rng=self._rng(GROUND),
            new_id=self._ids(GROUND),
            connector=self.hub.connector(GROUND, SUBSCRIPTIONS),
            database=self._ground_store.database(),
            vault=self._ground_store.vault,
        )

    async def _keep_ground(self) -> None:
        while True:
            self._ground_killed = False
            self._ground_run = asyncio.get_running_loop().create_task(self.ground.run(), name=GROUND)
            try:
                await asyncio.wait([self._ground_run])
            except asyncio.CancelledError:
                self._ground_run.cancel()
                await asyncio.gather(self._ground_run, return_exceptions=True)
                raise
            if not self._ground_killed:
                return self._ground_run.result()
            await asyncio.sleep(RESTART_SECONDS)
            self.ground = self._make_ground()
            await self.ground.open()

    async def _look(self, watch: FaultWatch) -> None:
        plant = self.plant
        nodes = {
            name: [f"thermal.{node.name}.celsius" for node in design.nodes] for name, design in self.designs.items()
        }
        while True:
            await self.clock.sleep(LOOK_SECONDS)
            now = self.clock.now()
            for name, keys in nodes.items():
                charge = plant.read(name, "battery.state_of_charge_ratio")
                chip = max(plant.read(name, key) for key in keys)
                watch.look(name, Truth(charge, chip, plant.read(name, "bus.undervoltage") > 0.0), now)

    async def _fly(self, satellite: str) -> None:
        design = self.designs[satellite]
        endpoints = Endpoints.inproc(satellite)
        board = TaskBoard(lambda service: self._context(satellite, service, endpoints), self._rules(design))
        self.boards[satellite] = board
        await board.fly()

    def _rules(self, design: SatelliteFile) -> tuple[Rule, ...]:
        return rules_for(self.settings.rules or SHIPPED_RULES, design, self.settings.services)

    def _context(self, satellite: str, service: str, endpoints: Endpoints) -> ServiceContext:
        design = self.designs[satellite]
        # The same devices in every life, built amiss as they are.
        rng = self._rng(satellite, service)
        clock, link = self._clocks.get(satellite, (self.clock, self.link))
        attachments: dict[str, object] = {
            "plant": link,
            "signing.key": SigningKey.from_seed(self.settings.seed, satellite),
            "signing.ring": self._rings[satellite],
            **{f"backhaul.{way}": self._way(satellite, way) for way in LINKS},
        }
        environment = DeviceEnvironment(
            satellite=satellite,
            design=design,
            clock=clock,
            rng=rng,
            state_dir=None,
            attachments=attachments,
        )
        return ServiceContext(
            satellite=satellite,
            satellite_file=design,
            constellation=self.constellation,
            clock=clock,
            endpoints=endpoints,
            devices=DeviceRegistry(environment, design.devices, DRIVERS_OF_THE_TWIN),
            rng=rng,
            zmq_context=self._zmq,
            meter=NullMeter(),
            state_dir=None,
            new_id=self._ids(satellite, service),
            parameters=parameters_for(design, service),
            attachments=attachments,
            services=self.services,
            incarnation=next(self._incarnations),
            taps=self._taps(satellite),
            mount=self.disks[satellite].mount(),
        )

    def _way(self, satellite: str, link: str) -> Way:
        return Way(self.hub, partial(self.plant.link, satellite, link), self.bit_flips.damage_of(satellite, link))

    def _taps(self, satellite: str) -> tuple[Tap, ...]:
        name = satellite.encode()
        digest: Tap = lambda topic, header, payload: self.digest.add(name, topic, header, payload)  # noqa: E731
        recorder = () if self._recorder is None else (self._recorder.tap(satellite),)
        watch = () if self.watch is None else (self._watching(self.watch, satellite),)
        return (digest, *recorder, *watch, *self.extra_taps)

    def _watching(self, watch: FaultWatch, satellite: str) -> Tap:
        return lambda topic, header, payload: watch.hear(satellite, topic, header, payload, self.clock.now())

    def _hash_frame(self, topic: str, payload: bytes) -> bytes:
        self.digest.add(topic.encode(), payload)
        return payload

    def _rng(self, *who: str) -> random.Random:
        # A string seeds alike in every process, whatever its hash seed.
        return random.Random("/".join((str(self.settings.seed), *who)))

    def _ids(self, *who: str) -> Callable[[], str]:
        # Whoever is started again draws anew: no id may come twice.
        self._lives[who] += 1
        life = () if self._lives[who] == 1 else (str(self._lives[who]),)
        rng = self._rng(*who, "ids", *life)
        return lambda: rng.randbytes(16).hex()
