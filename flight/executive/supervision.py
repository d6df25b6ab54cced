"""Keeps services alive: what to do when one starts, answers, falls silent or ends. Pure: events in, orders out.

All times are seconds of the host, on one scale that never runs backwards: processes live there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from flight.executive.restarts import RestartPolicy
from skyrack.v1 import executive_pb2


class State(Enum):
    """What is known of a service; the values are those of the contract."""

    STARTING = executive_pb2.SERVICE_STATE_STARTING
    RUNNING = executive_pb2.SERVICE_STATE_RUNNING
    BACKOFF = executive_pb2.SERVICE_STATE_BACKOFF
    FAILED = executive_pb2.SERVICE_STATE_FAILED
    STOPPED = executive_pb2.SERVICE_STATE_STOPPED


@dataclass(frozen=True, slots=True)
class Liveness:
    """How services are pinged, in seconds of the host."""

    period_seconds: float = 1.0
    deadline_seconds: float = 3.0
    # A service may be busy or the whole board may have been asleep: one silence proves nothing.
    misses_allowed: int = 1
    start_deadline_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the shell must do about a service."""

    service: str


@dataclass(frozen=True, slots=True)
class Start(Order):
    """Start it after a delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Kill(Order):
    """End it at once: it does not answer."""


@dataclass(frozen=True, slots=True)
class GiveUp(Order):
    """It ended too often; it stays off until somebody says otherwise."""


@dataclass(slots=True)
class Managed:
    """One service."""

    state: State = State.STOPPED
    misses: int = 0
    restarts: int = 0
    ping_seconds: float = 0.0
    history: tuple[float, ...] = ()
    # Ended on request, to be started again: its next end is no failure.
    restarting: bool = False


@dataclass(slots=True)
class Supervision:
    """The services of a board, in the order in which they start."""

    names: Iterable[str]
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    liveness: Liveness = field(default_factory=Liveness)
    services: dict[str, Managed] = field(init=False)

    def __post_init__(self) -> None:
        self.services = {name: Managed() for name in self.names}

    @property
    def down(self) -> list[str]:
        """Services that do not answer."""
        return [name for name, service in self.services.items() if service.state is not State.RUNNING]

    @property
    def failed(self) -> list[str]:
        """Services that were given up."""
        return [name for name, service in self.services.items() if service.state is State.FAILED]

    def start(self, name: str) -> list[Order]:
        """Start a service that is off, with a clean record."""
        service = self.services[name]
        if service.state not in (State.STOPPED, State.FAILED):
            return []
        service.state, service.history, service.restarting = State.BACKOFF, (), False
        return [Start(name, 0.0)]

    def started(self, name: str) -> None:
        """It was started just now."""
        service = self.services[name]
        service.state, service.misses = State.STARTING, 0

    def answered(self, name: str, ping_seconds: float) -> bool:
        """It answered a ping; whether that was the first time."""
        service = self.services[name]
        service.ping_seconds, service.misses = ping_seconds, 0
        if service.state is State.STARTING:
            service.state = State.RUNNING
            return True
        return False

    def silent(self, name: str) -> list[Order]:
        """A ping's deadline passed without an answer."""
        service = self.services[name]
        service.misses += 1
        hung = service.state is State.STARTING or service.misses > self.liveness.misses_allowed
        return [Kill(name)] if hung else []

    def restart(self, name: str) -> list[Order]:
        """Somebody asks for a restart: it does not count against the bound."""
        service = self.services[name]
        if service.state in (State.STOPPED, State.FAILED):
            return self.start(name)
        if service.state is State.BACKOFF:
            return []
        service.restarting = True
        return [Kill(name)]

    def ended(self, name: str, now: float) -> list[Order]:
        """Its process or task is gone."""
        service = self.services[name]
        service.misses = 0
        delay: float | None
        if service.restarting:
            service.restarting, delay = False, 0.0
        else:
            service.history, delay = self.policy.next(service.history, now)
            if delay is None:
                service.state = State.FAILED
                return [GiveUp(name)]
        service.state = State.BACKOFF
        service.restarts += 1
        return [Start(name, delay)]
