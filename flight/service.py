"""A service of the satellite: what every one of them does besides its own work.

A service declares rate groups, subscriptions and commands; this class runs them, reports health, answers pings from
inside the event loop, keeps parameters, and ends cleanly. One bad message, command or cycle never ends a service: it is
logged, counted, told as an event, and the service goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, ClassVar

from google.protobuf.message import Message

from flight.bus import Bus, Header, RequestRefusedError
from flight.context import ServiceContext
from flight.declarations import ALL, CommandHandler, Declarations, command, declarations_of, every, subscribe
from flight.parameters import Parameters
from flight.rate import RateRunner, RateStatistics
from flight.throttle import Throttle
from skyrack import dictionary
from skyrack.errors import UserError
from skyrack.logging import get_logger
from skyrack.v1 import common_pb2
from skyrack.v1.common_pb2 import Severity

__all__ = ["ALL", "KILLED", "Service", "command", "every", "registry", "run", "subscribe"]

HEALTH_PERIOD_SECONDS = 5.0
# A fault that repeats in every cycle is told once in this time of the host; the counters tell how often it was.
REPEATED_EVENT_SECONDS = 60.0

KILLED = "killed"
"""What the task of a service is cancelled with that is to end as SIGKILL would end its process."""

registry: dict[str, type[Service]] = {}
"""Every service of this package that has been imported, by name: stand-ins from elsewhere do not replace them."""

_LOG_LEVELS = {
    Severity.SEVERITY_DEBUG: "debug",
    Severity.SEVERITY_INFO: "info",
    Severity.SEVERITY_WARNING: "warning",
    Severity.SEVERITY_ERROR: "error",
    Severity.SEVERITY_CRITICAL: "critical",
}


class Service:
    """Base of all services. A subclass sets ``name`` and what it ``publishes``, and declares methods."""

    name: ClassVar[str] = ""
    publishes: ClassVar[tuple[type[Message], ...]] = ()
    parameters: ClassVar[type[Message] | None] = None
    declarations: ClassVar[Declarations]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.name:
            cls.declarations = declarations_of(cls)
            if cls.__module__.startswith("flight."):
                registry[cls.name] = cls

    def __init__(self, context: ServiceContext) -> None:
        self.context = context
        self.clock = context.clock
        self.devices = context.devices
        self.rng = context.rng
        self.log = get_logger(f"flight.{self.name}", service=self.name)
        self.incarnation = context.incarnation or int(context.clock.now() * 1e6)
        self.bus = Bus(self.name, context.endpoints, context.clock, self.incarnation, context.zmq_context)
        self.bus.taps.extend(context.taps)
        self.bus.on_malformed = self._on_malformed
        self.bus.on_error = self.failed
        kept = context.disk.file(f"parameters/{self.name}.json")
        self._parameters = Parameters(self.name, self.parameters, context.parameters, kept)
        self._allowed = frozenset((*self.publishes, common_pb2.Event, common_pb2.Health))
        self._throttle = Throttle(REPEATED_EVENT_SECONDS * max(1.0, context.clock.rate))
        self._rates = RateStatistics()
        self._started_at = context.clock.now()
        # In order of their start: sets have an order of their own in every run.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._stopping = asyncio.Event()
        self._ended = False

    # What a subclass may override.

    async def on_start(self) -> None:
        """Restore state. The bus is open, and this service's declared methods are not called yet."""

    async def on_stop(self) -> None:
        """Put state away. Nothing of this service runs any more; the bus is still open."""

    def on_parameters(self) -> None:
        """New parameters are active."""

    # What a subclass uses.

    @property
    def parameters_active(self) -> Any:
        """The parameters in force: a message of the type that ``parameters`` names."""
        return self._parameters.active

    def publish(self, message: Message, key: str = "") -> None:
        """Publish a message of a declared type; ``key`` names the instance.

        Raises:
            TypeError: the type is not among ``publishes``.
        """
        if type(message) not in self._allowed:
            kind, service = type(message).__name__, type(self).__name__
            raise TypeError(f"{self.name} does not declare that it publishes {kind}; add it to {service}.publishes")
        self.bus.publish(message, key)

    def event(self, name: str, severity: Severity, text: str = "", **fields: object) -> None:
        """Tell that something happened: on the bus, in the log, and down to the ground."""
        message = common_pb2.Event(
            name=name,
            severity=severity,
            text=text,
            fields=[common_pb2.EventField(name=field, value=str(value)) for field, value in fields.items()],
            source=self.name,
            mission_time_seconds=self.clock.now(),
        )
        getattr(self.log, _LOG_LEVELS.get(severity, "info"))(name, text=text, **fields)
        if self.bus.is_open:
            self.bus.publish(message)

    async def request(self, service: str, request: Message, timeout_seconds: float = 5.0) -> Any:
        """Ask another service. Raises RequestTimeoutError and RequestRefusedError; both are BusErrors."""
        return await self.bus.request(service, request, timeout_seconds)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run something beside the rest until it ends or the service stops; what it raises is told, not lost."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}.{name}")
        self._tasks[task] = None

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.pop(task, None)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):
                self.failed(name, error)

        task.add_done_callback(ended)
        return task

    def failed(self, where: str, error: Exception) -> None:
        """Tell of an error that this service survives."""
        self.log.error("handler_failed", where=where, exc_info=error)
        told, untold = self._throttle.admit(("handler_failed", where), self.clock.now())
        if told:
            text = f"{where}: {type(error).__name__}: {error}"
            self.event("handler_failed", Severity.SEVERITY_ERROR, text, where=where, untold=untold)

    def request_stop(self) -> None:
        """Let :func:`run` come back."""
        self._stopping.set()

    # What every service does.

    @command
    def ping(self, request: common_pb2.PingRequest) -> common_pb2.PingResponse:
        """Answer from inside the loop: who gets no answer knows that the loop hangs."""
        return common_pb2.PingResponse(nonce=request.nonce, incarnation=self.incarnation)

    @command
    def set_parameters(self, request: common_pb2.SetParametersRequest) -> common_pb2.CommandResult:
        """Check all values, then activate and persist them."""
        try:
            self._parameters.change([(value.name, value.value) for value in request.values])
        except UserError as error:
            return common_pb2.CommandResult(ok=False, reason=str(error))
        self.on_parameters()
        changed = ", ".join(f"{value.name} = {value.value:g}" for value in request.values)
        self.event("parameters_changed", Severity.SEVERITY_INFO, f"parameters of {self.name}: {changed}")
        return common_pb2.CommandResult(ok=True, reason=f"{changed} in force")

    @command
    def get_parameters(self, _request: common_pb2.GetParametersRequest) -> common_pb2.GetParametersResponse:
        """Parameters in force."""
        values = self._parameters.values().items()
        return common_pb2.GetParametersResponse(
            values=[common_pb2.ParameterValue(name=name, value=value) for name, value in values]
        )

    @every(seconds=HEALTH_PERIOD_SECONDS)
    def publish_health(self) -> None:
        """How this service is."""
        counters = self.bus.counters
        lag_seconds, cycle_seconds = self._rates.take_largest()
        self.bus.publish(
            common_pb2.Health(
                service=self.name,
                incarnation=self.incarnation,
                uptime_seconds=self.clock.now() - self._started_at,
                loop_lag_seconds=lag_seconds,
                cycle_seconds=cycle_seconds,
                overruns_total=self._rates.overruns,
                resident_memory_bytes=self.context.meter.resident_memory_bytes(),
                messages_published_total=counters.published,
                messages_received_total=counters.received,
                messages_malformed_total=counters.malformed,
                messages_missed_total=counters.missed,
                messages_dropped_total=counters.dropped,
                handler_errors_total=counters.handler_errors + self._rates.errors,
            )
        )

    # Life.

    async def start(self) -> None:
        """Open the bus, restore state, then begin to hear, answer and run."""
        await self.bus.open()
        self.bus.hold_unknown_requests(True)
        handlers = {handler.method: handler for handler in self.declarations.commands}
        self._serve(handlers.pop("ping"))
        await self.on_start()
        for subscription in self.declarations.subscriptions:
            method = getattr(self, subscription.method)
            handle = _with_arguments(method, subscription.arguments)
            for source in subscription.sources:
                for service in self.context.services if source == ALL else (source,):
                    self.bus.subscribe(service, subscription.message_type, handle, subscription.key)
        for handler in handlers.values():
            self._serve(handler)
        self.bus.hold_unknown_requests(False)
        for group in self.declarations.rate_groups:
            runner = RateRunner(group, getattr(self, group.method), self.clock, self.context.meter, self._rates)
            self.spawn(runner.run(self._on_overrun, self.failed), group.method)

    async def stop(self) -> None:
        """Stop everything that runs, put state away, close the bus and the devices; once."""
        if self._ended:
            return
        self._ended = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.on_stop()
        finally:
            await self.bus.close()
            await self.devices.close()

    async def abandon(self) -> None:
        """End as SIGKILL ends a process: nothing is put away, and nothing of it is heard or written any more."""
        self._ended = True
        self.context.mount.cut()
        await self.bus.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stopped(self) -> None:
        """Wait until someone asks this service to stop."""
        await self._stopping.wait()

    def _serve(self, handler: CommandHandler) -> None:
        method = getattr(self, handler.method)
        result_is_verdict = handler.rpc.response is common_pb2.CommandResult

        def serve(request: Message, header: Header) -> Any:
            problems = dictionary.check_arguments(request)
            if problems:
                reason = f"{handler.rpc.name}: {'; '.join(problems)}"
                if result_is_verdict:
                    return common_pb2.CommandResult(ok=False, reason=reason)
                raise RequestRefusedError(reason)
            return method(request) if handler.arguments == 1 else method(request, header)

        self.bus.serve(handler.rpc, serve)

    def _on_malformed(self, source: str, reason: str) -> None:
        told, untold = self._throttle.admit(("message_malformed", source), self.clock.now())
        if told:
            self.event("message_malformed", Severity.SEVERITY_WARNING, reason, source=source, untold=untold)

    def _on_overrun(self, group: str, missed: int, late_seconds: float) -> None:
        told, untold = self._throttle.admit(("rate_group_overrun", group), self.clock.now())
        if told:
            text = f"{self.name}.{group} ran {late_seconds:.3g} s past its next start"
            self.event("rate_group_overrun", Severity.SEVERITY_WARNING, text, group=group, missed=missed, untold=untold)


async def run(service_class: type[Service], context: ServiceContext) -> None:
    """Run a service until it is cancelled or asked to stop, and close it cleanly either way."""
    await run_until_stopped(service_class(context))


async def run_until_stopped(service: Service) -> None:
    """Start a service, wait until it is cancelled or asked to stop, and close it cleanly either way.

    Cancelled with the message :data:`KILLED` it is abandoned instead.
    """
    try:
        await service.start()
    except BaseException as error:
        # What is half started may fail to stop, too: the reason why it did not start is the one to tell.
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await (service.abandon() if _is_killed(error) else service.stop())
        raise
    try:
        await service.stopped()
    except asyncio.CancelledError as error:
        if _is_killed(error):
            await service.abandon()
        raise
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await service.stop()


def _is_killed(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError) and error.args == (KILLED,)


def _with_arguments(method: Any, arguments: int) -> Any:
    if arguments == 1:
        return lambda message, _header, _key: method(message)
    if arguments == 2:
        return lambda message, header, _key: method(message, header)
    return method
