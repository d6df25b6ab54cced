from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hil.plant import optics
from hil.plant.plant import Plant
from skyrack import orbits
from skyrack.satellite import ConstellationFile, SatelliteFile

MakePlant = Callable[..., Plant]
LASER = "laser.laser-1"


class Pointer:
    """Points sat-1's terminal at the relay that is nearest at the start, as well as it is told to."""

    def __init__(self, plant: Plant, constellation: ConstellationFile) -> None:
        self.plant = plant
        relays = orbits.relay_satrecs(constellation)
        own = plant.geometry.satrec(0)
        self._own = own
        self.distance, self.relay, self._satrec = min(
            (orbits.distance(self._at(own), self._at(satrec)), name, satrec) for name, satrec in relays
        )
        self.offset = (0.0, 0.0)

    def _at(self, satrec: object) -> tuple[float, float, float]:
        return orbits.propagate(satrec, self.plant.time)[0]

    def view(self, time: float) -> optics.Sight:
        states = [orbits.propagate(satrec, time) for satrec in (self._own, self._satrec)]
        arrays = [np.array(vector) for state in states for vector in state]
        return optics.sight(*arrays)

    def point(self, *, ahead: bool = True) -> None:
        now, then = self.view(self.plant.time), self.view(self.plant.time + 1.0)
        commands: dict[str, Any] = {
            "azimuth_radians": now.azimuth + self.offset[0],
            "elevation_radians": now.elevation + self.offset[1],
            "azimuth_rate": then.azimuth - now.azimuth,
            "elevation_rate": then.elevation - now.elevation,
            "at_seconds": self.plant.time,
            "ahead_azimuth_radians": now.ahead_azimuth * ahead,
            "ahead_elevation_radians": now.ahead_elevation * ahead,
        }
        for key, value in commands.items():
            self.plant.actuate("sat-1", f"{LASER}.{key}", float(value))


@pytest.fixture
def pointer(make_plant: MakePlant, demo: tuple[ConstellationFile, dict[str, SatelliteFile]]) -> Pointer:
    return Pointer(make_plant(), demo[0])


def arrive(pointer: Pointer) -> None:
    for _ in range(90):
        pointer.point()
        pointer.plant.step()
    assert pointer.plant.read("sat-1", f"{LASER}.slewing") == 0.0


def take_out_bias(pointer: Pointer) -> None:
    terminals = pointer.plant.terminals
    pointer.offset = (-float(terminals.bias[0, 0]), -float(terminals.bias[1, 0]))


def test_a_gimbal_turns_no_faster_than_it_can(pointer: Pointer) -> None:
    plant = pointer.plant
    plant.actuate("sat-1", f"{LASER}.azimuth_radians", -1.0)
    plant.step()
    assert plant.read("sat-1", f"{LASER}.azimuth_radians") == pytest.approx(-0.05)
    assert plant.read("sat-1", f"{LASER}.slewing") == 1.0


def test_the_built_in_bias_hides_the_relay_until_it_is_found(pointer: Pointer) -> None:
    arrive(pointer)
    assert pointer.plant.read("sat-1", f"{LASER}.received_watts") == 0.0
    take_out_bias(pointer)
    pointer.offset = (pointer.offset[0], pointer.offset[1] + 50e-6)
    pointer.point()
    pointer.plant.step()
    assert pointer.plant.read("sat-1", f"{LASER}.received_watts") > 1e-8
    assert pointer.plant.read("sat-1", f"{LASER}.error_elevation_radians") == pytest.approx(-50e-6, abs=1e-6)


def test_the_link_is_up_when_pointed_and_transmitting_only(pointer: Pointer) -> None:
    plant = pointer.plant
    take_out_bias(pointer)
    arrive(pointer)
    assert not plant.link("sat-1", "optical").up
    plant.actuate("sat-1", f"{LASER}.transmit", 1.0)
    for _ in range(600):  # over several blocks
        pointer.point()
        plant.step()
        link = plant.link("sat-1", "optical")
        assert link.up
    assert link.via == pointer.relay
    assert link.rate_bits_per_second > 1e9
    plant.actuate("sat-1", "load.laser-1.switch", 0.0)
    plant.step()
    assert not plant.link("sat-1", "optical").up


def test_faults_of_pointing_and_outages_take_the_link(pointer: Pointer) -> None:
    plant = pointer.plant
    take_out_bias(pointer)
    arrive(pointer)
    plant.actuate("sat-1", f"{LASER}.transmit", 1.0)

    def up() -> bool:
        pointer.point()
        plant.step()
        return plant.link("sat-1", "optical").up

    assert up()
    for key, value in ((f"fault.{LASER}.mispointing_radians", 1e-3), ("fault.link.optical.outage", 1.0)):
        plant.actuate("sat-1", key, value)
        assert not up()
        plant.actuate("sat-1", key, 0.0)
        assert up()


def test_wrong_point_ahead_costs_light(pointer: Pointer) -> None:
    plant = pointer.plant
    terminals = plant.terminals
    terminals._best_rate[:] = 1e12
    take_out_bias(pointer)
    arrive(pointer)
    plant.actuate("sat-1", f"{LASER}.transmit", 1.0)
    pointer.point()
    plant.step()
    aimed = plant.link("sat-1", "optical").rate_bits_per_second
    plant.actuate("sat-1", f"{LASER}.ahead_azimuth_radians", 40e-6)
    plant.step()
    assert plant.link("sat-1", "optical").rate_bits_per_second < 0.3 * aimed


def test_a_terminal_that_looks_at_nothing_sees_nothing(pointer: Pointer) -> None:
    plant = pointer.plant
    plant.actuate("sat-1", f"{LASER}.elevation_radians", 1.2)
    plant.actuate("sat-1", f"{LASER}.transmit", 1.0)
    for _ in range(200):
        plant.step()
    assert plant.read("sat-1", f"{LASER}.received_watts") == 0.0
    assert not plant.link("sat-1", "optical").up
