"""The plant as a process: sensors out, actuators in, and the gates that hold the backhaul to its links."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog
import zmq

from hil.gate import Gate
from hil.plant import wire
from hil.plant.link import PlantKeyError
from hil.plant.plant import LINKS
from hil.plant.runner import run_plant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.plant.plant import Plant
    from skyrack.clock import Clock

ACTUATIONS_QUEUED = 100_000


@dataclass(slots=True)
class ServerCounters:
    """What the server saw."""

    actuations: int = 0
    malformed: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The gates of a run.

    Attributes:
        broker: host and port behind the gates.
        patience_seconds: wall seconds of an outage that a connection survives.
        ports: of the gates, by satellite and link; without them, all satellites get any free ones.
    """

    broker: tuple[str, int]
    patience_seconds: float = 1.0
    ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class PlantServer:
    """Serves one plant under one address."""

    def __init__(
        self, plant: Plant, clock: Clock, url: str, context: zmq.Context[zmq.Socket[bytes]] | None = None
    ) -> None:
        self.plant = plant
        self.clock = clock
        self.url = url
        self.counters = ServerCounters()
        # A name, for whoever must know that this is not the plant of before; the world does not depend on it.
        self._incarnation = secrets.randbits(32)
        self.gates: dict[str, dict[str, Gate]] = {}
        self._log = structlog.get_logger("plant")
        self._context = context or zmq.Context.instance()
        self._sensors: zmq.Socket[bytes] | None = None
        self._actuators: zmq.Socket[bytes] | None = None

    async def open(
        self,
        gates: GateSettings | None = None,
    ) -> None:
        """Bind the sockets, and open the gates: one for each satellite's optical and antenna link.

        Raises:
            zmq.ZMQError: the address cannot be bound.
        """
        sensors_url, actuators_url = wire.endpoints(self.url)
        self._sensors = self._context.socket(zmq.PUB)
        self._sensors.setsockopt(zmq.LINGER, 0)
        self._sensors.bind(sensors_url)
        self._actuators = self._context.socket(zmq.PULL)
        self._actuators.setsockopt(zmq.RCVHWM, ACTUATIONS_QUEUED)
        self._actuators.bind(actuators_url)
        if gates is not None:
            for satellite in gates.ports or self.plant.names:
                self.gates[satellite] = {link: await self._open_gate(satellite, link, gates) for link in LINKS}

    async def close(self) -> None:
        """Close gates and sockets."""
        for gates in self.gates.values():
            for gate in gates.values():
                await gate.close()
        for socket in (self._sensors, self._actuators):
            if socket is not None:
                socket.close()

    async def run(self, step_seconds: float = 1.0) -> None:
        """Let the world go on until cancelled."""
        self.publish()
        await run_plant(self.plant, self.clock, step_seconds, before_step=self.take, after_step=self.publish)

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        """Flip a bit in each of the next pieces that pass a gate. Raises KeyError where there is no such gate."""
        self.gates[satellite][link].flip_bits(count)

    def publish(self) -> None:
        """Say what sensors see, and move the gates."""
        if self._sensors is not None:
            for satellite in self.plant.names:
                plant = self.plant
                sensors, faults = plant.sensors(satellite), plant.device_faults(satellite)
                self._sensors.send(wire.encode_frame(satellite, plant.time, sensors, faults, self._incarnation))
        for gates in self.gates.values():
            for gate in gates.values():
                gate.update()

    def gate_ports(self) -> dict[str, dict[str, int]]:
        """Port of each gate by satellite and link."""
        return {satellite: {link: gate.port for link, gate in gates.items()} for satellite, gates in self.gates.items()}

    async def _open_gate(self, satellite: str, link: str, settings: GateSettings) -> Gate:
        look_up = partial(self.plant.link, satellite, link)
        gate = Gate(look_up, settings.broker, self.clock.rate, settings.patience_seconds)
        await gate.open(port=settings.ports[satellite][link] if settings.ports else 0)
        return gate

    def take(self) -> None:
        """Set the actuators that clients asked for."""
        socket = self._actuators
        if socket is None:
            return
        while True:
            try:
                message = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                satellite, values = wire.decode_actuation(message)
                for key, value in values.items():
                    self._actuate(satellite, key, value)
                    self.counters.actuations += 1
            except wire.WireError as error:
                self.counters.malformed += 1
                self._log.warning("malformed_actuation", error=str(error))
            except PlantKeyError as error:
                self.counters.refused += 1
                self._log.warning("unknown_actuator", error=str(error))

    def _actuate(self, satellite: str, key: str, value: float) -> None:
        if key.startswith("fault.link.") and key.endswith(".flip_bits"):
            link = key.split(".")[2]
            if link not in self.gates.get(satellite, {}):
                raise PlantKeyError(f"{satellite} has no gate for its {link} link")
            self.flip_bits(satellite, link, int(value))
        else:
            self.plant.actuate(satellite, key, value)
