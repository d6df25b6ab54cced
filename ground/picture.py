"""What the ground knows of the satellites now: the latest telemetry, and when each was last heard.

Messages are decoded once, by the pipeline that takes batches in; whoever looks finds the newest of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from google.protobuf.message import Message

from ground.placement import NodeSize, PlacementSettings, Profile, SatelliteView
from ground.records import SatelliteRecord
from ground.telemetry.pipeline import Kind, Latest, SatellitePipeline
from ground.telemetry.watch import Crossing
from skyrack.dictionary import telemetry
from skyrack.satellite import SatelliteFile
from skyrack.v1 import backhaul_pb2, compute_pb2, executive_pb2, gateway_pb2, navigation_pb2, power_pb2, thermal_pb2

__all__ = ["Latest", "Picture"]


@dataclass(slots=True)
class _Satellite:
    design: SatelliteFile | None
    nodes: tuple[NodeSize, ...] = ()
    heard_seconds: float | None = None
    samples: dict[Kind, Latest] = field(default_factory=dict)
    rate: float = 0.0


class Picture:
    """The satellites as they are known on the ground."""

    def __init__(self, designs: Mapping[str, SatelliteFile]) -> None:
        self._satellites = {
            name: _Satellite(
                design,
                tuple(NodeSize(node.peak_watts, node.cores, node.memory_bytes) for node in design.nodes),
            )
            for name, design in designs.items()
        }
        self.pipelines = {name: SatellitePipeline(name) for name in designs}
        """What takes in the telemetry of each satellite."""
        for name, pipeline in self.pipelines.items():
            self._satellites[name].samples = pipeline.samples

    def __contains__(self, satellite: str) -> bool:
        return satellite in self._satellites

    @property
    def names(self) -> list[str]:
        """Names of all satellites, sorted."""
        return sorted(self._satellites)

    def heard_seconds(self, satellite: str) -> float | None:
        """When the satellite was last heard; None is never."""
        return self._satellites[satellite].heard_seconds

    def heard(self, satellite: str, now: float) -> None:
        """Something of the satellite's arrived."""
        known = self._satellites.get(satellite)
        if known is not None and (known.heard_seconds is None or now > known.heard_seconds):
            known.heard_seconds = now

    def update(self, satellite: str, batch: backhaul_pb2.TelemetryBatch, now: float = 0.0) -> list[Crossing]:
        """Take a batch that came at ``now`` in, in any order; returns fields whose level changed."""
        known = self._satellites.get(satellite)
        if known is None:
            return []
        known.rate = batch.rate
        return self.pipelines[satellite].ingest(batch, now)

    @property
    def samples_total(self) -> int:
        """Messages received since the start."""
        return sum(pipeline.messages for pipeline in self.pipelines.values())

    def messages(self, satellite: str) -> Iterator[tuple[str, Latest, Message]]:
        """(instance key, sample, message) of all kinds, by type and key."""
        known = self._satellites[satellite]
        for kind in sorted(known.samples):
            message = self._decoded(known, kind)
            if message is not None:
                yield kind[2], known.samples[kind], message

    def newest(self, satellite: str, name: str) -> tuple[float, Message] | None:
        """(mission time, message) of the newest of a type that one service publishes, or None."""
        known = self._satellites[satellite]
        message = self._message(known, name)
        return None if message is None else (known.samples[_kind_of(name)].mission_time_seconds, message)

    def instances(self, satellite: str, name: str) -> list[Message]:
        """The newest message of each instance of a type: one of each laser terminal."""
        known = self._satellites[satellite]
        full_name = telemetry()[name].full_name
        found = [self._decoded(known, kind) for kind in sorted(known.samples) if kind[0] == full_name]
        return [message for message in found if message is not None]

    def _message(self, known: _Satellite, name: str) -> Message | None:
        """The newest message of a type that one service publishes, once."""
        return self._decoded(known, _kind_of(name))

    def _decoded(self, known: _Satellite, kind: Kind) -> Message | None:
        latest = known.samples.get(kind)
        return None if latest is None else latest.message

    def view(self, satellite: str, now: float) -> SatelliteView:
        """The satellite as placement sees it."""
        known = self._satellites[satellite]
        power = self._message(known, "PowerBudget")
        heat = self._message(known, "ThermalBudget")
        compute = self._message(known, "ComputeStatus")
        status = self._message(known, "SatelliteStatus")
        ends = [budget.end_seconds for budget in (power, heat) if isinstance(budget, _BUDGETS)]
        return SatelliteView(
            name=satellite,
            nodes=known.nodes,
            heard_seconds=known.heard_seconds,
            next_contact_seconds=self._next_contact(known, now),
            accepts_jobs=(
                isinstance(compute, compute_pb2.ComputeStatus)
                and not (isinstance(status, executive_pb2.SatelliteStatus) and status.mode == executive_pb2.MODE_SAFE)
            ),
            power=_profile(power),
            heat=_profile(heat),
            budget_end_seconds=min(ends, default=0.0),
            free_nodes=compute.free_nodes if isinstance(compute, compute_pb2.ComputeStatus) else 0,
        )

    def _next_contact(self, known: _Satellite, now: float) -> float | None:
        forecast = self._message(known, "OrbitForecast")
        if not isinstance(forecast, navigation_pb2.OrbitForecast):
            return None
        starts = [max(now, contact.start_seconds) for contact in forecast.contacts if contact.end_seconds > now]
        return min(starts, default=None)

    def record(self, satellite: str, now: float, jobs_open: int, settings: PlacementSettings) -> SatelliteRecord:
        """The satellite as people see it."""
        known = self._satellites[satellite]
        power = self._message(known, "PowerStatus")
        power_budget = self._message(known, "PowerBudget")
        heat_budget = self._message(known, "ThermalBudget")
        thermal = self._message(known, "ThermalStatus")
        compute = self._message(known, "ComputeStatus")
        status = self._message(known, "SatelliteStatus")
        link = self._message(known, "LinkStatus")
        orbit = self._message(known, "OrbitState")
        age = None if known.heard_seconds is None else max(0.0, now - known.heard_seconds)
        return SatelliteRecord(
            name=satellite,
            is_reachable=age is not None and age <= settings.reachable_seconds,
            heard_seconds=known.heard_seconds,
            age_seconds=age,
            mode=(
                executive_pb2.Mode.Name(status.mode).removeprefix("MODE_").lower()
                if isinstance(status, executive_pb2.SatelliteStatus)
                else ""
            ),
            link=link.link if isinstance(link, gateway_pb2.LinkStatus) else "",
            sunlit_ratio=orbit.sunlit_ratio if isinstance(orbit, navigation_pb2.OrbitState) else None,
            state_of_charge_ratio=(power.state_of_charge_ratio if isinstance(power, power_pb2.PowerStatus) else None),
            compute_power_watts=(
                power_budget.compute_now_watts if isinstance(power_budget, power_pb2.PowerBudget) else None
            ),
            compute_heat_watts=(
                heat_budget.compute_now_watts if isinstance(heat_budget, thermal_pb2.ThermalBudget) else None
            ),
            draw_watts=compute.draw_watts if isinstance(compute, compute_pb2.ComputeStatus) else None,
            chip_maximum_celsius=(
                thermal.chip_maximum_celsius if isinstance(thermal, thermal_pb2.ThermalStatus) else None
            ),
            free_nodes=compute.free_nodes if isinstance(compute, compute_pb2.ComputeStatus) else None,
            jobs_open=jobs_open,
            next_contact_seconds=self._next_contact(known, now),
            outbox_items=link.outbox_items if isinstance(link, gateway_pb2.LinkStatus) else 0,
        )


_BUDGETS = (power_pb2.PowerBudget, thermal_pb2.ThermalBudget)


@cache
def _kind_of(name: str) -> Kind:
    found = telemetry()[name]
    return found.full_name, found.publisher, ""


def _profile(budget: Message | None) -> Profile:
    if not isinstance(budget, _BUDGETS):
        return ()
    return tuple((piece.start_seconds, piece.watts) for piece in budget.compute)
