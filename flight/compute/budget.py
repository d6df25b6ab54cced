"""What compute may draw: the least of the power and the thermal budget, and what holds when one falls silent."""

from __future__ import annotations

from dataclasses import dataclass, field

from flight.compute.profile import Profile, least
from skyrack.v1 import power_pb2, thermal_pb2

STALE_SECONDS = 120.0
HOST_PATIENCE_SECONDS = 3.0
"""At a fast clock, a service that restarts is silent for many mission seconds; that alone stops no job."""

NONE = Profile.constant(0.0)


@dataclass(slots=True)
class Budgets:
    """Keeps the last budget of each source.

    Silent for long, a source is taken to allow nothing: then nodes only idle. In the first moments after a start,
    ``combined`` is ``None``: nothing is known, so nothing is begun and nothing is stopped.
    """

    rate: float
    started_seconds: float
    _profiles: dict[str, tuple[float, Profile]] = field(default_factory=dict)
    _combined: Profile | None = None
    _changed: bool = True

    @property
    def patience_seconds(self) -> float:
        """How old a budget may be."""
        return STALE_SECONDS + HOST_PATIENCE_SECONDS * self.rate

    def take(self, source: str, now: float, budget: power_pb2.PowerBudget | thermal_pb2.ThermalBudget) -> None:
        """Remember a budget."""
        profile = Profile.of(((step.start_seconds, step.watts) for step in budget.compute), budget.end_seconds)
        self._profiles[source] = (now, profile)
        self._changed = True

    def combined(self, now: float) -> Profile | None:
        """The budget to plan with."""
        oldest = min(self._profiles.get(source, (self.started_seconds,))[0] for source in ("power", "thermal"))
        if now - oldest > self.patience_seconds:
            return NONE
        if len(self._profiles) < 2:
            return None
        if self._changed:
            self._combined = least([profile for _, profile in self._profiles.values()])
            self._changed = False
        return self._combined
