"""What faults may do to a twin: everything in the catalogue."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from hil.devices.model_node import cut_power
from hil.fault_schedule import PlantEffects
from hil.faults import BROKER, GROUND, DiskFull, Need, ProcessKill
from skyrack.errors import UserError
from skyrack.files import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.faults import Fault
    from hil.twin.world import World

BROKER_DOWN_SECONDS = 2.0
"""A broker that was killed is back after so long."""


class BitFlips:
    """Bits that are yet to flip, by satellite and link."""

    def __init__(self) -> None:
        self._left: Counter[tuple[str, str]] = Counter()

    def add(self, satellite: str, link: str, count: int) -> None:
        """Let so many more payloads be damaged."""
        self._left[satellite, link] += count

    def damage_of(self, satellite: str, link: str) -> Callable[[bytes], bytes]:
        """What the link does to a payload."""
        return partial(self._pass, (satellite, link))

    def _pass(self, way: tuple[str, str], payload: bytes) -> bytes:
        if not payload or not self._left[way]:
            return payload
        self._left[way] -= 1
        damaged = bytearray(payload)
        damaged[len(damaged) // 2] ^= 0x10
        return bytes(damaged)


class TwinEffects(PlantEffects):
    """Acts on a world that runs."""

    can: frozenset[Need] = frozenset({"plant", "links", "processes", "disks", "clocks"})

    def __init__(self, world: World) -> None:
        super().__init__(world.plant.actuate)
        self._world = world

    def check(self, fault: Fault) -> None:
        """Whether there is such a satellite, and such a service."""
        world = self._world
        grounds = {ProcessKill: (GROUND, BROKER), DiskFull: (GROUND,)}.get(type(fault), ())
        if fault.satellite in grounds:
            return
        if fault.satellite not in world.designs:
            known = (*world.designs, *grounds)
            problem = f'there is no satellite "{fault.satellite}"; {suggest(fault.satellite, known)}'
            raise UserError(f"fault {fault.kind}: {problem}")
        if isinstance(fault, ProcessKill) and fault.service not in world.services:
            problem = f'there is no service "{fault.service}"; {suggest(fault.service, world.services)}'
            raise UserError(f"fault {fault.kind} of {fault.satellite}: {problem}")

    def kill(self, satellite: str, service: str) -> None:
        world = self._world
        if satellite == GROUND:
            world.kill_ground()
        elif satellite == BROKER:
            world.hub.kill(BROKER_DOWN_SECONDS)
        else:
            if service in {"gateway", "executive"}:
                world.hub.drop(satellite)
            world.boards[satellite].kill(service)

    def cut_power(self, satellite: str, down_seconds: float) -> None:
        world = self._world
        world.hub.drop(satellite)
        world.boards[satellite].cut_power(down_seconds)
        world.set_clock(satellite)
        cut_power(world.link, satellite)
        for node in world.designs[satellite].nodes:
            world.plant.actuate(satellite, f"node.{node.name}.draw_watts", 0.0)

    def fill_disk(self, satellite: str, *, full: bool) -> None:
        if satellite == GROUND:
            self._world.fill_ground(full=full)
        else:
            self._world.disks[satellite].full = full

    def jump_clock(self, satellite: str, seconds: float) -> None:
        self._world.clock_offsets[satellite] += seconds

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        self._world.bit_flips.add(satellite, link, count)
