"""Laser terminals: gimbals that slew, beams that jitter, partners that stand where they stand.

A terminal turns towards commanded angles, which run on at commanded rates, no faster than its gimbal can. Its true
line of sight differs from the gimbal's reading by a fixed bias. A relay whose light falls into the field of view is
seen; the fine steering mirror then follows it within that field, and the transmit beam leaves with the commanded
point-ahead. What the relay gets of it decides whether the link is up, and how fast it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sgp4.api import Satrec

from hil.plant import optics
from hil.plant.constants import SPEED_OF_LIGHT
from hil.plant.frames import Array
from hil.plant.geometry import Block, Geometry
from hil.plant.layout import SatelliteLayout
from hil.plant.link import DOWN
from hil.plant.orbit import Orbits
from skyrack.backhaul import LinkState
from skyrack.satellite import Laser

TURN = 2.0 * np.pi
NEAR_RADIANS = 0.02  # a relay this near the line of sight is followed as the partner
LOST_RADIANS = 0.05  # beyond this, another partner is looked for
SEARCH_SECONDS = 5.0
MINIMUM_RATE_RATIO = 1e-3  # of the terminal's best: a slower link does not hold
RELAY_DELAY_SECONDS = 0.030  # from the relay through its mesh to the ground; press: 25 to 60 ms end to end


@dataclass(frozen=True, slots=True)
class Terminal:
    """A laser terminal of a satellite."""

    satellite: int
    consumer: int  # its place among the satellite's consumers
    design: Laser


def terminals_of(satellite: SatelliteLayout) -> list[Terminal]:
    """The terminals of one satellite, in the order of its design."""
    columns = [column for column, consumer in enumerate(satellite.consumers) if consumer.kind == "laser"]
    return [
        Terminal(satellite.index, column, laser) for column, laser in zip(columns, satellite.design.lasers, strict=True)
    ]


class Terminals:
    """All laser terminals of the constellation.

    The last axis of arrays is terminals; a first axis of two holds azimuth and elevation.
    """

    def __init__(
        self, terminals: Sequence[Terminal], relays: Sequence[tuple[str, Satrec]], rng: np.random.Generator
    ) -> None:
        self.terminals = tuple(terminals)
        self.satellite = np.array([t.satellite for t in terminals], dtype=np.int64)
        self.consumer = np.array([t.consumer for t in terminals], dtype=np.int64)
        self.of_satellite: dict[int, list[int]] = {}
        for row, terminal in enumerate(terminals):
            self.of_satellite.setdefault(terminal.satellite, []).append(row)
        designs = [t.design for t in terminals]
        count = len(designs)
        self._relays = tuple(relays)
        self._fleet = Orbits([satrec for _, satrec in relays], [name for name, _ in relays]) if relays else None
        self.rng = rng
        self._slew = np.array([d.slew_rate_radians_per_second for d in designs])
        self._half_field = np.array([0.5 * d.field_of_view_radians for d in designs])
        self._jitter = np.array([d.jitter_radians for d in designs])
        self._reach = np.array([d.maximum_range_meters for d in designs])
        self._best_rate = np.array([d.maximum_rate_bits_per_second for d in designs])
        self._least_rate = MINIMUM_RATE_RATIO * self._best_rate
        wavelength = np.array([d.wavelength_meters for d in designs])
        photons = np.array([d.photons_per_bit for d in designs])
        self._bits_per_joule = optics.rate_bits_per_second(np.ones(count), photons, wavelength)
        aperture = np.array([d.transmit_aperture_meters for d in designs])
        self._beam = optics.beam_half_angle(
            np.array([d.beam_divergence_radians for d in designs]), aperture, wavelength
        )
        gain = optics.path_gain(self._beam, np.array([d.receive_aperture_meters for d in designs]), wavelength)
        efficiency = np.array([d.optics_efficiency_ratio for d in designs])
        self._power_gain = np.array([d.transmit_power_watts for d in designs]) * efficiency**2 * gain

        bias = np.array([d.pointing_bias_radians for d in designs])
        direction = rng.uniform(0.0, 2.0 * np.pi, count)
        self.bias = np.stack([bias * np.cos(direction), bias * np.sin(direction)])
        self._built = self.bias.copy()

        # Commands.
        self.command = np.zeros((2, count))
        self.command_rate = np.zeros((2, count))
        self.command_time = np.zeros(count)
        self.ahead = np.zeros((2, count))
        self.commanded = np.zeros(count, dtype=bool)
        self.active = False  # whether any was ever commanded
        self.transmitting = np.zeros(count, dtype=bool)
        # State.
        self.angle = np.zeros((2, count))
        self.slewing = np.zeros(count, dtype=bool)
        self.partner = np.full(count, -1, dtype=np.int64)
        self.line = np.zeros((2, count))  # the gimbal's angles at which it would look at its partner
        self.received_watts = np.zeros(count)
        self.error = np.zeros((2, count))  # of azimuth times cos(elevation), of elevation
        self.rate = np.zeros(count)  # bit/s, zero while the link is down
        self.distance = np.zeros(count)
        self._next_search = np.full(count, -np.inf)
        self._track = np.zeros((0, 6, count))

    def __len__(self) -> int:
        return len(self.terminals)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All state but the generator's, by name; to be written over in place, before a block begins."""
        return {
            "laser.command": self.command,
            "laser.command_rate": self.command_rate,
            "laser.command_time": self.command_time,
            "laser.ahead": self.ahead,
            "laser.commanded": self.commanded,
            "laser.transmitting": self.transmitting,
            "laser.angle": self.angle,
            "laser.slewing": self.slewing,
            "laser.partner": self.partner,
            "laser.line": self.line,
            "laser.received_watts": self.received_watts,
            "laser.error": self.error,
            "laser.rate": self.rate,
            "laser.distance": self.distance,
            "laser.next_search": self._next_search,
            "fault.laser.bias": self.bias,
        }

    def begin_block(self, geometry: Geometry, block: Block) -> None:
        """Work out where the partners will stand."""
        self._track = np.zeros((len(block.times), 6, len(self)))
        for row in np.flatnonzero(self.partner >= 0):
            self._follow(int(row), geometry, block, 0)

    def step(self, geometry: Geometry, block: Block, k: int, step_seconds: float, powered: NDArray[np.bool_]) -> None:
        """Advance to the end of step k of the block."""
        # Gimbals.
        left = self.command_rate * (block.times[k] - self.command_time)
        left += self.command
        left -= self.angle
        left = _wrap(left)
        most = self._slew * (step_seconds * (powered & self.commanded))
        move = np.minimum(np.maximum(left, -most), most)
        self.angle = _wrap(self.angle + move)
        self.slewing = np.logical_or.reduce(move != left)
        # Partners.
        self._search(geometry, block, k)
        track = self._track[k]
        distance = self.distance = track[2]
        np.subtract(track[:2], self.bias, out=self.line)
        error = _wrap(self.line - self.angle)
        error[0] *= np.cos(track[1])
        off = np.hypot(error[0], error[1])
        self.partner[off > LOST_RADIANS] = -1
        # Light. The partner aims well, but jitters as we do: Rayleigh's distribution, made of the exponential one.
        jitter = self._jitter * np.sqrt(2.0 * self.rng.standard_exponential((2, len(self))))
        seen = powered & (self.partner >= 0) & (track[3] > 0.0) & (off < self._half_field) & (distance < self._reach)
        self.error = error * seen
        on_axis = self._power_gain * seen / np.maximum(distance, 1.0) ** 2
        aim = self.ahead - track[4:]
        jitter[1] = np.sqrt(jitter[1] ** 2 + aim[0] ** 2 + aim[1] ** 2)
        here, there = on_axis * optics.pointing_loss(jitter, self._beam)
        self.received_watts = here
        rate = np.minimum(there * self._bits_per_joule, self._best_rate)
        self.rate = rate * (self.transmitting & (rate > self._least_rate))

    def mispoint(self, row: int, offset_radians: float) -> None:
        """Add an offset in azimuth to the terminal's bias: a mirror that came loose. Zero mends it."""
        self.bias[0, row] = self._built[0, row] + offset_radians

    def link(self, row: int) -> LinkState:
        """The link of one terminal."""
        rate = float(self.rate[row])
        if rate <= 0.0:
            return DOWN
        delay = float(self.distance[row]) / SPEED_OF_LIGHT + RELAY_DELAY_SECONDS
        return LinkState(
            up=True, rate_bits_per_second=rate, delay_seconds=delay, via=self._relays[self.partner[row]][0]
        )

    def _search(self, geometry: Geometry, block: Block, k: int) -> None:
        alone = self.commanded & (self.partner < 0)
        if self._fleet is None or not np.logical_or.reduce(alone):
            return
        time = block.times[k]
        due = alone & ~self.slewing & (self._next_search <= time)
        if not due.any():
            return
        position, velocity = (state[0] for state in self._fleet.states(block.times[k : k + 1]))
        for row in np.flatnonzero(due):
            self._next_search[row] = time + SEARCH_SECONDS
            own_position, own_velocity = geometry.state(int(self.satellite[row]), time)
            view = optics.sight(own_position, own_velocity, position, velocity)
            off = np.hypot(
                _wrap(view.azimuth - self.angle[0, row]) * np.cos(view.elevation), view.elevation - self.angle[1, row]
            )
            nearest = int(off.argmin())
            if off[nearest] < NEAR_RADIANS:
                self.partner[row] = nearest
                self._follow(int(row), geometry, block, k)

    def _follow(self, row: int, geometry: Geometry, block: Block, k: int) -> None:
        times = block.times[k:]
        own = Orbits([geometry.satrec(int(self.satellite[row]))], ["satellite"]).states(times)
        name, satrec = self._relays[self.partner[row]]
        partner = Orbits([satrec], [name]).states(times)
        view = optics.sight(own[0][:, 0], own[1][:, 0], partner[0][:, 0], partner[1][:, 0])
        for quantity, values in enumerate(
            (
                view.azimuth,
                view.elevation,
                view.distance,
                view.clear,
                view.ahead_azimuth,
                view.ahead_elevation,
            )
        ):
            self._track[k:, quantity, row] = values


def _wrap(angle: Array) -> Array:
    """An angle between -pi and pi."""
    turns = np.rint(angle / TURN)
    turns *= TURN
    return np.subtract(angle, turns, out=turns)
