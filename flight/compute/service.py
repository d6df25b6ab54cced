"""The compute service: looks at nodes and jobs, asks the planner, and carries out what it says."""

from __future__ import annotations

import asyncio

from flight.compute import admission
from flight.compute.agreement import Agreement
from flight.compute.budget import NONE, Budgets
from flight.compute.jobs import Jobs
from flight.compute.lifecycle import Change, Intent, JobRecord, after_report, due
from flight.compute.outbox import Outbox
from flight.compute.planner import NOTHING, NodeView, Plan, Settings, holds_until, plan
from flight.compute.round import Ask, Round, carry_out
from flight.compute.store import JobStore, Outgoing
from flight.compute.views import job_view, node_status, node_views
from flight.compute.workdirs import WorkDirs
from flight.hal import NodeState, Quality, RackNode, WorkReport
from flight.identity import satellite_key
from flight.service import Service, command, every, subscribe
from skyrack.jobs import JobCause, JobState
from skyrack.v1.common_pb2 import CommandResult, Severity
from skyrack.v1.compute_pb2 import (
    CancelJobRequest,
    ComputeParameters,
    ComputeStatus,
    PlaceJobRequest,
    RenewLeaseRequest,
    ReportJobsRequest,
    ReportJobsResponse,
    SetDrainRequest,
)
from skyrack.v1.executive_pb2 import MODE_SAFE, SatelliteStatus
from skyrack.v1.job_pb2 import JobStatus
from skyrack.v1.power_pb2 import PowerBudget
from skyrack.v1.thermal_pb2 import ThermalBudget

STATUS_SECONDS = 5.0
PROGRESS_SECONDS = 60.0
PROGRESS_HOST_SECONDS = 2.0
CAP_STEP_WATTS = 1.0


class ComputeManager(Service):
    """Queue, plan, lifecycle of jobs."""

    name = "compute"
    publishes = (ComputeStatus, JobStatus)
    parameters = ComputeParameters

    async def on_start(self) -> None:
        state_dir = self.context.state_dir
        base = state_dir / "compute" if state_dir else None
        self._designs = self.context.satellite_file.nodes
        self._nodes = {node.name: self.devices.get(f"node.{node.name}", RackNode) for node in self._designs}
        self._store = JobStore(self.context.disk.database("compute/jobs.sqlite"))
        await self._store.open()
        self._outbox = Outbox(self._store, self.clock, self.request)
        self._outbox.on_taken = self._on_taken
        dirs, satellite = WorkDirs(base), self.context.satellite
        key = satellite_key(satellite, self.context.attachments)
        self._jobs = Jobs(satellite, self.clock, self._store, dirs, self._outbox, self._nodes, key)
        self._agreement = Agreement(satellite, self.clock, self._store, dirs, self._outbox, self._jobs, key)
        self._jobs.on_status = self._on_status
        await self._jobs.restore()
        self._budgets = Budgets(self.clock.rate, self.clock.now())
        self._states: dict[str, NodeState] = {}
        self._silent: set[str] = set()
        self._reports: dict[str, WorkReport] = {}
        self._told: dict[str, tuple[float, float]] = {}
        self._caps: dict[str, float] = {}
        self._planned = NOTHING
        self._plan_key: tuple[object, ...] = ()
        self._plan_until = 0.0
        self._safe = False
        self._draining = await self._store.draining()
        self._status_at = 0.0
        self._lock = asyncio.Lock()
        self.on_parameters()
        self.spawn(self._outbox.run(), "outbox")

    def on_parameters(self) -> None:
        active = self.parameters_active
        self._settings = Settings(margin_ratio=active.budget_margin_ratio, lead_seconds=active.preempt_lead_seconds)

    async def on_stop(self) -> None:
        await self._store.close()

    @every(seconds=1.0)
    async def control(self) -> None:
        """Look, decide; when there is something to do, do it beside the next cycles."""
        if self._lock.locked():
            return
        await self._look()
        if self._lock.locked():
            # A command came in between: what was seen may be of jobs that are no more.
            return
        now = self.clock.now()
        decided = self._decide(now)
        if any(decided):
            self.spawn(self._carry_out(decided), "carry_out")
        if now >= self._status_at:
            self._publish_status(now)

    @subscribe(PowerBudget)
    def on_power_budget(self, budget: PowerBudget) -> None:
        """Watts that the satellite can spare."""
        self._budgets.take("power", self.clock.now(), budget)

    @subscribe(ThermalBudget)
    def on_thermal_budget(self, budget: ThermalBudget) -> None:
        """Heat that it can give off."""
        self._budgets.take("thermal", self.clock.now(), budget)

    @subscribe(SatelliteStatus)
    def on_satellite_status(self, status: SatelliteStatus) -> None:
        """In safe mode nothing runs."""
        self._safe = status.mode == MODE_SAFE

    @command
    async def place_job(self, request: PlaceJobRequest) -> CommandResult:
        """Accept a job, or reject it with the reason; kept before the answer."""
        async with self._lock:
            ok, reason = await self._jobs.place(request, self._refusal)
        return CommandResult(ok=ok, reason=reason)

    @command
    async def cancel_job(self, request: CancelJobRequest) -> CommandResult:
        """Stop a job and end it as cancelled."""
        async with self._lock:
            ok, reason = await self._jobs.cancel(request.job_id, request.attempt, request.reason)
        return CommandResult(ok=ok, reason=reason)

    @command
    async def renew_lease(self, request: RenewLeaseRequest) -> CommandResult:
        """Hold a job for longer."""
        async with self._lock:
            ok, reason = await self._agreement.renew(request.job_id, request.attempt, request.lease_end_seconds)
        return CommandResult(ok=ok, reason=reason)

    @command
    async def report_jobs(self, request: ReportJobsRequest) -> ReportJobsResponse:
        """Tell the ground what is held here; no step of a job is half taken then."""
        async with self._lock:
            return ReportJobsResponse(jobs=await self._agreement.report(request.question))

    @command
    async def set_drain(self, request: SetDrainRequest) -> CommandResult:
        """Accept no new jobs, or accept them again, also after a restart; what was accepted runs on."""
        await self._store.set_draining(request.draining)
        self._draining = request.draining
        return CommandResult(ok=True, reason="no new jobs are accepted" if request.draining else "jobs are accepted")

    async def _look(self) -> None:
        for name, device in self._nodes.items():
            reading = await device.read()
            if reading.quality is not Quality.ABSENT:
                self._silent.discard(name)
            elif name not in self._silent:
                self._silent.add(name)
                if name in self._states:
                    self.event("node_silent", Severity.SEVERITY_WARNING, f"{name}: {reading.problem}", node=name)
            self._states[name] = reading.value
        self._reports.clear()
        for record in self._jobs.running():
            report = await self._nodes[record.node].report(record.work_id)
            if report is not None:
                self._reports[record.job_id] = report

    def _decide(self, now: float) -> Round:
        running = self._jobs.running()
        changes = ((record, after_report(record, self._reports.get(record.job_id))) for record in running)
        planned = self._plan(now)
        waiting, caps = [], []
        for item in planned.run:
            record = self._jobs.open[item.job_id]
            if record.state is not JobState.RUNNING:
                waiting.append((record, item))
            elif abs(self._caps.get(item.node, -1.0) - item.cap_watts) >= CAP_STEP_WATTS:
                caps.append(item)
        return Round(
            ended=[(record, change, self._reports.get(record.job_id)) for record, change in changes if change],
            asked=[*self._overdue(now), *self._preempted(planned)],
            caps=caps,
            begun=waiting,
            progressed=self._progressed(now),
            strays=self._strays(running),
            buried=sorted(self._jobs.replaced.difference(*(state.running for state in self._states.values()))),
        )

    def _strays(self, running: list[JobRecord]) -> list[tuple[str, str]]:
        """Node and id of work that runs and is nobody's: of a replaced attempt, or of a memory that was lost."""
        ours = {record.work_id for record in running}
        return [
            (name, work_id) for name, state in self._states.items() for work_id in state.running if work_id not in ours
        ]

    def _plan(self, now: float) -> Plan:
        if not self._jobs.open:
            return NOTHING
        budget = NONE if self._safe else self._budgets.combined(now)
        if budget is None:
            return NOTHING
        nodes = [(state.powered, state.running) for state in self._states.values()]
        key = (budget, self._jobs.revision, self._settings, nodes, frozenset(self._silent))
        if now >= self._plan_until or key != self._plan_key:
            rate = self.clock.rate
            jobs = [job_view(record, rate) for record in self._jobs.open.values() if record.intent is Intent.NONE]
            views = self._node_views()
            self._planned = plan(now, budget, views, jobs, self._settings)
            # Work that is ending draws what it draws; its end changes the key, its draw does not.
            ending = any(view.blocked for view in views)
            self._plan_key = key
            self._plan_until = now if ending else holds_until(now, budget, jobs, self._settings)
        return self._planned

    def _node_views(self) -> list[NodeView]:
        return node_views(self._designs, self._states, self._jobs.open.values(), self._silent)

    def _overdue(self, now: float) -> list[Ask]:
        found = []
        for record in self._jobs.open.values():
            why = due(record, now)
            if why is not None and record.intent < Intent.EXPIRE:
                found.append(Ask(record, Intent.EXPIRE, *why))
        return found

    def _preempted(self, planned: Plan) -> list[Ask]:
        if self._safe:
            told = JobCause.SAFE_MODE, "the satellite is in safe mode"
            return [Ask(self._jobs.open[job_id], Intent.PREEMPT, *told) for job_id, _ in planned.stop]
        return [
            Ask(self._jobs.open[job_id], Intent.PREEMPT, JobCause.BUDGET, why.value) for job_id, why in planned.stop
        ]

    def _progressed(self, now: float) -> list[tuple[JobRecord, WorkReport]]:
        least = max(PROGRESS_SECONDS, PROGRESS_HOST_SECONDS * self.clock.rate)
        found = []
        for job_id, report in self._reports.items():
            told_at, told_ratio = self._told.setdefault(job_id, (now, 0.0))
            if now - told_at >= least and report.progress_ratio > told_ratio:
                self._told[job_id] = (now, report.progress_ratio)
                found.append((self._jobs.open[job_id], report))
        return found

    async def _carry_out(self, decided: Round) -> None:
        async with self._lock:
            await carry_out(decided, self._jobs, self._nodes, self._caps)
            self._publish_status(self.clock.now())

    def _refusal(self, record: JobRecord) -> Change | None:
        now = self.clock.now()
        refusal = admission.refuse(
            job_view(record, self.clock.rate),
            now=now,
            lease_end_seconds=record.placement.lease_end_seconds,
            nodes=self._node_views(),
            budget=self._budgets.combined(now),
            settings=self._settings,
            draining=self._draining,
        )
        return None if refusal is None else Change(JobState.REJECTED, refusal.cause, refusal.reason)

    def _on_status(self, record: JobRecord, status: JobStatus) -> None:
        self.publish(status, record.job_id)
        if record.state in (JobState.FAILED, JobState.REJECTED) or record.cause is JobCause.NODE_LOST:
            name = f"job_{record.state.name.lower()}"
            self.event(name, Severity.SEVERITY_WARNING, f"{record.work_id}: {record.reason}", job_id=record.job_id)
        if record.state.final:
            self._told.pop(record.job_id, None)

    def _on_taken(self, item: Outgoing) -> None:
        self.spawn(self._clean(item), "clean")

    async def _clean(self, item: Outgoing) -> None:
        async with self._lock:
            await self._jobs.clean(f"{item.job_id}.{item.attempt}")

    def _publish_status(self, now: float) -> None:
        self._status_at = now + STATUS_SECONDS
        running = self._jobs.running()
        holders = {record.node: record.job_id for record in running}
        budget = self._budgets.combined(now)
        states = self._states
        live = sum(report.energy_joules for report in self._reports.values())
        totals = self._jobs.totals
        self.publish(
            ComputeStatus(
                mission_time_seconds=now,
                nodes=[node_status(name, states.get(name), holders.get(name, "")) for name in self._nodes],
                jobs_queued=len(self._jobs.open) - len(running),
                jobs_running=len(running),
                draw_watts=sum(state.draw_watts for state in states.values()),
                budget_watts=budget.at(now) if budget is not None else 0.0,
                energy_joules_total=totals.energy_joules + live,
                jobs_completed_total=totals.completed,
                jobs_failed_total=totals.failed,
                preemptions_total=totals.preemptions,
                free_nodes=sum(
                    name in states and states[name].powered and name not in holders and name not in self._silent
                    for name in self._nodes
                ),
            )
        )
