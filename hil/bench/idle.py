"""The same messages between services whose handlers are empty: what bus and service frame cost by themselves.

An idle service declares what the real one declares: its rate groups tick on the mission clock, it subscribes to the
same messages, with the same taps, and parses what it hears. It publishes its own health, as every service does. Its
handlers do nothing but publish, in the first tick after their time, the messages that the real service published.

Left out, so that they count as work of the real twin: the plant and the devices, the executive's supervision, requests
between services, and everything that goes over the backhaul (the gateway's frames, the gate, the ground).
"""

from __future__ import annotations

import inspect
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flight.executive.limits import limits_of
from flight.process import EXECUTIVE
from flight.service import Service
from skyrack.dictionary import telemetry, telemetry_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from flight.context import ServiceContext


@dataclass(frozen=True, slots=True)
class Published:
    """A message as it was published: when, by whom, under which key."""

    time_seconds: float
    service: str
    message: Message
    key: str


class IdleService(Service):
    """Publishes what was recorded, in the order of its times."""

    def __init__(self, context: ServiceContext, recorded: Iterable[Published]) -> None:
        super().__init__(context)
        self._recorded = deque(recorded)

    async def on_start(self) -> None:
        """Subscribe to what the real service subscribes to without declaring it."""
        services = self.context.services
        if self.name == "gateway":
            self.bus.subscribe_raw(services, _ignore)
        if self.name == EXECUTIVE:
            limited = limits_of(self.context.satellite_file).limited()
            for name in sorted({telemetry_fields()[field].message for field in limited}):
                watched = telemetry()[name]
                for source in (watched.publisher,) if watched.publisher else services:
                    if source != self.name:
                        self.bus.subscribe(source, watched.type, _ignore)

    def publish_due(self) -> None:
        """Publish everything whose time has come."""
        recorded, now = self._recorded, self.clock.now()
        while recorded and recorded[0].time_seconds <= now:
            item = recorded.popleft()
            self.publish(item.message, item.key)


def idle_class(real: type[Service]) -> type[IdleService]:
    """An idle service with the declarations of a real one."""
    handlers: dict[str, Any] = {}
    for group in real.declarations.rate_groups:
        method = getattr(real, group.method)
        handlers[group.method] = _tick_async if inspect.iscoroutinefunction(method) else IdleService.publish_due
    for subscription in real.declarations.subscriptions:
        handlers[subscription.method] = _ignore
    for command in real.declarations.commands:
        handlers[command.method] = _ignore
    own = {name: handler for name, handler in handlers.items() if not hasattr(Service, name)}
    idle: type[IdleService] = type(f"Idle{real.__name__}", (IdleService,), own)
    # Set only now: a class that is made with a name takes the real one's place among the services.
    idle.name, idle.publishes, idle.parameters = real.name, real.publishes, real.parameters
    idle.declarations = real.declarations
    return idle


def _ignore(*_: object) -> None:
    pass


async def _tick_async(self: IdleService) -> None:
    self.publish_due()
