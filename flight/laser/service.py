"""The laser service's shell."""

from __future__ import annotations

from typing import ClassVar, Final

from google.protobuf.message import Message

from flight.context import ServiceContext
from flight.hal import DeviceError, LaserTerminal
from flight.laser.acquisition import State
from flight.laser.geometry import coast
from flight.laser.switches import Switches
from flight.laser.terminal import Terminal
from flight.service import Service, command, every, subscribe
from skyrack.orbits import OrbitPosition, relay_satrecs, satellite_satrec
from skyrack.v1.common_pb2 import CommandResult, Severity
from skyrack.v1.laser_pb2 import LaserParameters, LaserStatus, SetLaserRequest
from skyrack.v1.navigation_pb2 import OrbitState
from skyrack.v1.power_pb2 import PowerStatus

_ORBIT_SECONDS: Final = 10.0
"""An orbit state older than this is not carried on: the elements are better."""


class LaserService(Service):
    """Keeps each terminal on a relay."""

    name = "laser"
    publishes: ClassVar[tuple[type[Message], ...]] = (LaserStatus,)
    parameters = LaserParameters

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self._terminals: dict[str, Terminal] = {}
        self._switches = Switches(context.disk.file("laser-disabled.json"))
        self._orbit: OrbitState | None = None
        self._unpowered: set[str] = set()

    async def on_start(self) -> None:
        """Find the terminals."""
        constellation = self.context.constellation
        own = satellite_satrec(constellation, self.context.satellite)
        relays = relay_satrecs(constellation)
        for design in self.context.satellite_file.lasers:
            try:
                device = self.devices.get(f"laser.{design.name}", LaserTerminal)
            except DeviceError as error:
                self.event("laser_missing", Severity.SEVERITY_ERROR, str(error), terminal=design.name)
                continue
            terminal = Terminal(design, device, own, relays, self.clock.rate)
            terminal.set_parameters(self.parameters_active)
            terminal.enabled = self._switches.enabled(design.name)
            self._terminals[design.name] = terminal

    def on_parameters(self) -> None:
        """Hand new parameters on."""
        for terminal in self._terminals.values():
            terminal.set_parameters(self.parameters_active)

    @subscribe(OrbitState)
    def on_orbit(self, state: OrbitState) -> None:
        """Where the satellite is."""
        self._orbit = state

    @subscribe(PowerStatus)
    def on_power(self, status: PowerStatus) -> None:
        """A terminal that has power again begins to search anew, and close to where its partner should be."""
        for load in status.loads:
            terminal = self._terminals.get(load.load)
            if terminal is None:
                continue
            if not load.switch_closed:
                self._unpowered.add(load.load)
            elif load.load in self._unpowered:
                self._unpowered.discard(load.load)
                terminal.restart(self.clock.now())

    @every(seconds=1)
    async def control(self) -> None:
        """Steer all terminals."""
        now = self.clock.now()
        known = self._position(now)
        for name, terminal in self._terminals.items():
            before, peer = terminal.state, terminal.peer
            await terminal.control(now, known)
            self._tell(name, before, peer, terminal)
            self.publish(terminal.status(now), name)

    def _position(self, now: float) -> OrbitPosition | None:
        state = self._orbit
        if state is None or abs(now - state.mission_time_seconds) > _ORBIT_SECONDS:
            return None
        position, velocity = state.position_meters, state.velocity_meters_per_second
        known = OrbitPosition((position.x, position.y, position.z), (velocity.x, velocity.y, velocity.z))
        return coast(known, now - state.mission_time_seconds)

    def _tell(self, name: str, before: State, peer: str, terminal: Terminal) -> None:
        after = terminal.state
        if before is after:
            return
        if after is State.COMMUNICATE:
            text = f"{name} communicates with {terminal.peer} after {terminal.acquisition_seconds:.0f} s"
            self.event("laser_acquired", Severity.SEVERITY_INFO, text, terminal=name, peer=terminal.peer)
        elif before is State.COMMUNICATE and after is State.REACQUIRE:
            text = f"{name} lost {peer} and searches for it"
            self.event("laser_lost", Severity.SEVERITY_WARNING, text, terminal=name, peer=peer)
        elif before is State.COMMUNICATE:
            text = f"{name}: the contact with {peer} ended"
            self.event("laser_contact_ended", Severity.SEVERITY_INFO, text, terminal=name, peer=peer)

    @command
    def set_laser(self, request: SetLaserRequest) -> CommandResult:
        """Enable or disable a terminal, for good."""
        terminal = self._terminals.get(request.terminal)
        if terminal is None:
            known = ", ".join(self._terminals) or "none"
            return CommandResult(ok=False, reason=f"there is no terminal {request.terminal!r}; there are {known}")
        try:
            self._switches.set(request.terminal, request.enabled)
        except OSError as error:
            return CommandResult(ok=False, reason=f"the setting could not be stored ({error})")
        terminal.enabled = request.enabled
        return CommandResult(ok=True, reason=f"{request.terminal} is {'enabled' if request.enabled else 'disabled'}")
