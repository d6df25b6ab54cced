"""The executive as a service of the bus."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from flight.bus import BusError
from flight.executive.guard import Guard
from flight.executive.heartbeat import Heartbeat
from flight.executive.keeper import Keeper
from flight.executive.limits import LimitsInForce
from flight.executive.modes import Cause, Mode, after, at_start
from flight.executive.rack import RackSwitches, set_load_switch
from flight.executive.restarts import Escalation, escalate
from flight.executive.rules import Action, Rule
from flight.executive.sd_notify import Notifier
from flight.executive.supervision import Liveness, Supervision
from flight.executive.telemetry import RULE_STATES, status_message
from flight.service import Service, command, every
from skyrack.dictionary import read_limits
from skyrack.errors import UserError
from skyrack.v1 import common_pb2, executive_pb2
from skyrack.v1.common_pb2 import Severity

if TYPE_CHECKING:
    from flight.context import ServiceContext
    from flight.executive.launcher import Exit, Launcher
    from flight.executive.memory import Store

REBOOT_WINDOW_SECONDS = 3600.0
STOP_GRACE_SECONDS = 1.5
_STATUS_PERIOD_SECONDS = 5.0


class Executive(Service):
    """Keeps the satellite's services alive, its mode, and its values within their limits."""

    name = "executive"
    publishes = (
        executive_pb2.SatelliteStatus,
        executive_pb2.LimitViolation,
        executive_pb2.LimitOverrides,
        executive_pb2.FaultRules,
    )
    parameters = executive_pb2.ExecutiveParameters

    def __init__(
        self,
        context: ServiceContext,
        launcher: Launcher,
        store: Store,
        rules: tuple[Rule, ...],
        notifier: Notifier | None = None,
    ) -> None:
        super().__init__(context)
        self.reboot_wanted = False
        self._store = store
        self._memory = store.memory
        self._mode = at_start(self._memory.last_mode)
        self._reason = "safe before the restart" if self._mode is Mode.SAFE else "starting"
        names = tuple(name for name in context.services if name != self.name)
        self._launcher = launcher
        self._launcher.on_lost = self._launcher_lost
        self.supervision = Supervision(names, liveness=self._liveness())
        for name, restarts in self._memory.restarts.items():
            if name in self.supervision.services:
                self.supervision.services[name].restarts = restarts
        self.keeper = Keeper(self.supervision, launcher, self._ping, self.spawn, self)
        self.limits = LimitsInForce(context.satellite_file, self._memory, rules)
        self._limit_guard = Guard(self, self.limits, self._memory, self._act)
        self._rack = RackSwitches(
            [node.name for node in context.satellite_file.nodes], self._memory, partial(set_load_switch, self)
        )
        device = context.board.watchdog_device if context.board is not None else ""
        self._heartbeat = Heartbeat(device, notifier or Notifier({}), self._is_well)
        self._boot: asyncio.Task[Any] | None = None
        self._most_up = 0
        self._was_cut_off = False

    # Life.

    async def on_start(self) -> None:
        self._memory.boots += 1
        self._was_cut_off = not self._memory.ended_cleanly
        self._memory.ended_cleanly = False
        self._save()
        if self._store.problem:
            self.event("state_lost", Severity.SEVERITY_ERROR, self._store.problem)
        for sentence in self.limits.problems:
            self.event("limit_override_dropped", Severity.SEVERITY_WARNING, sentence)
        self._limit_guard.begin()
        try:
            if self._heartbeat.open():
                self.spawn(self._heartbeat.run(), "heartbeat")
        except OSError as error:
            self.event("watchdog_unavailable", Severity.SEVERITY_ERROR, str(error))
        await self.keeper.open()
        if self._mode is Mode.BOOT:
            self._begin_boot()

    async def on_stop(self) -> None:
        self._heartbeat.notifier.stopping()
        await self.keeper.close(STOP_GRACE_SECONDS)
        self._heartbeat.close(disarm=not self.reboot_wanted)
        self._memory.ended_cleanly = True
        self._save()

    def _is_well(self) -> bool:
        # Whatever else is lost can be mended from the ground, as long as the satellite can be reached.
        return "gateway" not in self.supervision.failed

    def on_parameters(self) -> None:
        self.supervision.liveness = self._liveness()

    def _liveness(self) -> Liveness:
        active = self.parameters_active
        return Liveness(
            period_seconds=max(active.ping_period_seconds, self._launcher.shortest_ping_period_seconds),
            deadline_seconds=active.ping_deadline_seconds,
            start_deadline_seconds=active.start_deadline_seconds,
        )

    # Services. Keeper tells what becomes of them.

    async def _ping(self, service: str, deadline_seconds: float) -> bool:
        try:
            await self.request(service, common_pb2.PingRequest(), deadline_seconds * self.clock.rate)
        except BusError:
            return False
        return True

    def service_up(self, service: str) -> None:
        """It answered for the first time since its start."""
        self.event("service_up", Severity.SEVERITY_INFO, f"{service} answers", service=service)
        if service == "gateway" and self._was_cut_off:
            # Not at the start, when nobody listens yet.
            self._was_cut_off = False
            text = "the board lost its power, or the executive was killed: all services were started anew"
            self.event("cut_off", Severity.SEVERITY_WARNING, text, boots=self._memory.boots)
        if not self.supervision.down:
            self._heartbeat.notifier.ready()
            self._change_mode(Cause.SERVICES_UP)
        elif self._mode is Mode.BOOT and self._up > self._most_up:
            # On a loaded host a boot is slow and yet goes on: only one that stands still has failed.
            self._begin_boot()
        self._publish_status()

    def service_hung(self, service: str) -> None:
        """It did not answer, and is being killed."""
        text = f"{service} does not answer and is killed"
        self.event("service_hung", Severity.SEVERITY_ERROR, text, service=service)

    def service_ended(self, service: str, ended: Exit, restart_in_seconds: float | None) -> None:
        """It ended; ``None`` is no restart: it ended too often."""
        then = f"starts again in {restart_in_seconds:g} s" if restart_in_seconds is not None else "ended too often"
        text = f"{service} ended ({ended.reason}); {then}"
        self.event("service_ended", Severity.SEVERITY_WARNING, text, service=service, reason=ended.reason)
        self._memory.restarts[service] = self.supervision.services[service].restarts
        self._publish_status()

    def service_failed(self, service: str) -> None:
        """It was given up: the safe mode, then a reboot."""
        window = REBOOT_WINDOW_SECONDS * self.clock.rate
        recent = [time for time in self._memory.reboots if self.clock.now() - time < window]
        maximum = int(self.parameters_active.reboots_maximum)
        safe = self._mode is Mode.SAFE
        step = escalate(service, safe=safe, recent_reboots=len(recent), maximum_reboots=maximum)
        text = f"{service} failed for good: {step.value}"
        self.event("service_failed", Severity.SEVERITY_CRITICAL, text, service=service)
        match step:
            case Escalation.SAFE_MODE:
                self._change_mode(Cause.SERVICE_FAILED, f"{service} failed for good")
                self.keeper.start(service)
            case Escalation.REBOOT:
                self._memory.reboots = [*recent, self.clock.now()]
                self._reboot()
            case Escalation.GIVE_UP:
                self._publish_status()

    def _launcher_lost(self, reason: str) -> None:
        self.event("launcher_lost", Severity.SEVERITY_CRITICAL, f"{reason}: all is started anew")
        self._reboot()

    def _reboot(self) -> None:
        """End, to be started anew as a whole."""
        self.reboot_wanted = True
        self._save()
        self.request_stop()

    # Mode.

    @property
    def _up(self) -> int:
        """How many services answer."""
        return len(self.supervision.services) - len(self.supervision.down)

    def _begin_boot(self) -> None:
        """Wait for the services that are still down, for so long from now."""
        self._most_up = self._up
        if self._boot is not None:
            self._boot.cancel()
        if self.supervision.down:
            self._boot = self.spawn(self._await_boot(), "boot")
        else:
            self._change_mode(Cause.SERVICES_UP)

    async def _await_boot(self) -> None:
        await asyncio.sleep(self.parameters_active.boot_deadline_seconds)
        missing = self.supervision.down
        self._change_mode(Cause.BOOT_TIMEOUT, f"{', '.join(missing)} did not come up in time")

    def _change_mode(self, cause: Cause, reason: str = "") -> bool:
        mode = after(self._mode, cause)
        if mode is self._mode:
            return False
        left, self._mode, self._reason = self._mode, mode, reason or cause.value
        self._memory.mode = mode.name
        self._save()
        severity = Severity.SEVERITY_CRITICAL if mode is Mode.SAFE else Severity.SEVERITY_INFO
        text = f"{left.name} to {mode.name}: {self._reason}"
        self.event("mode_changed", severity, text, mode=mode.name, previous=left.name)
        if left is Mode.BOOT:
            self._heartbeat.notifier.ready()
        self._heartbeat.notifier.status(f"{mode.name.lower()}: {self._reason}")
        self._publish_status()
        if mode is Mode.BOOT:
            self._begin_boot()
        return True

    # Fault rules and telemetry.

    def _act(self, rule: Rule, target: str) -> None:
        """Do what a fault rule asks for."""
        match rule.action:
            case Action.SAFE_MODE:
                self._change_mode(Cause.RULE, rule.text)
            case Action.RESTART_SERVICE if target in self.supervision.services:
                self.keeper.restart(target)
            case Action.OPEN_LOAD:
                self.spawn(self._open_by_rule(rule, target), f"rule {rule.name}")

    async def _open_by_rule(self, rule: Rule, load: str) -> None:
        problem = await set_load_switch(self, load, closed=False)
        if problem:
            self.event("fault_rule_failed", Severity.SEVERITY_ERROR, f"{load} stays closed: {problem}", rule=rule.name)

    @every(seconds=_STATUS_PERIOD_SECONDS)
    def publish_status(self) -> None:
        """Publish the status, and bring the rack's switches to where the mode wants them."""
        self._publish_status()
        self._save()
        due = self._rack.due(self._mode, asyncio.get_running_loop().time(), self.parameters_active.safe_grace_seconds)
        if due is not None:
            self.spawn(self._set_rack(due), "rack switches")

    async def _set_rack(self, closed: bool) -> None:
        if await self._rack.set(closed):
            self._save()
            text = "Power of the rack is back" if closed else "The rack is without power in the safe mode"
            self.event("rack_switched", Severity.SEVERITY_WARNING, text, closed=closed)

    def _publish_status(self) -> None:
        times = {"now": self.clock.now(), "started_at": self._started_at}
        self.publish(status_message(self.supervision, self._memory, self._mode, self._reason, **times))

    def _save(self) -> None:
        try:
            self._store.save()
        except OSError as error:
            self.failed("saving the executive's state", error)

    # Commands.

    @command
    def set_mode(self, request: executive_pb2.SetModeRequest) -> common_pb2.CommandResult:
        """Enter the nominal or the safe mode."""
        causes = {executive_pb2.MODE_SAFE: Cause.COMMAND_SAFE, executive_pb2.MODE_NOMINAL: Cause.COMMAND_NOMINAL}
        if request.mode not in causes:
            return _refuse("the mode must be MODE_NOMINAL or MODE_SAFE")
        if request.mode == self._mode.value:
            return _done(f"the mode is {self._mode.name} already")
        if not self._change_mode(causes[request.mode]):
            return _refuse(f"not from {self._mode.name}: services are still coming up")
        for service in self.supervision.failed:
            self.keeper.start(service)
        return _done(f"the mode is {self._mode.name}")

    @command
    def restart_service(self, request: executive_pb2.RestartServiceRequest) -> common_pb2.CommandResult:
        """Restart a service, or start one that was given up."""
        if request.service not in self.supervision.services:
            return _refuse(f"there is no service {request.service}; there are {', '.join(self.supervision.services)}")
        self.keeper.restart(request.service)
        return _done(f"{request.service} restarts")

    @command
    def set_limits(self, request: executive_pb2.SetLimitsRequest) -> common_pb2.CommandResult:
        """Override the limits of a field, or return to the satellite file's and the dictionary's."""
        given = read_limits(request.limits)
        try:
            self.limits.command(request.field, given)
        except UserError as error:
            return _refuse(str(error))
        self._save()
        self._limit_guard.limits_changed()
        self.event("limits_changed", Severity.SEVERITY_INFO, f"limits of {request.field} changed", field=request.field)
        return _done(f"limits of {request.field} are in force")

    @command
    def set_rule(self, request: executive_pb2.SetRuleRequest) -> common_pb2.CommandResult:
        """Let a fault rule act, only report, or do neither."""
        try:
            self.limits.command_rule(request.rule, RULE_STATES[request.state])
        except UserError as error:
            return _refuse(str(error))
        except KeyError:
            return _refuse("the state must be RULE_STATE_ACTIVE, RULE_STATE_PASSIVE or RULE_STATE_DISABLED")
        self._save()
        self._limit_guard.rules_changed()
        state = self.limits.states[request.rule].value
        self.event("rule_changed", Severity.SEVERITY_WARNING, f"{request.rule} is {state}", rule=request.rule)
        return _done(f"{request.rule} is {state}")


def _done(what: str) -> common_pb2.CommandResult:
    return common_pb2.CommandResult(ok=True, reason=what)


def _refuse(why: str) -> common_pb2.CommandResult:
    return common_pb2.CommandResult(ok=False, reason=why)
