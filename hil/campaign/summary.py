"""What a campaign found, per kind of fault. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.campaign.result import RunResult
    from hil.fault_watch import FaultOutcome


@dataclass(frozen=True, slots=True)
class Spread:
    """Some times, seconds; ``None`` where there were none."""

    count: int
    median: float | None
    worst: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of any values."""
        if not values:
            return cls(0, None, None)
        return cls(len(values), statistics.median(values), max(values))


@dataclass(frozen=True, slots=True)
class KindSummary:
    """One kind of fault over a campaign: every fault of it counts, main ones and companions."""

    kind: str
    runs: int
    """Whose main fault was of this kind."""
    faults: int
    detected: Spread
    contained: Spread
    recovered: Spread
    recovered_since_end: Spread
    """After the fault itself was over."""
    undetected: int
    work_lost_seconds: float
    """The greatest of a run."""
    limits_crossed: tuple[tuple[str, int], ...]
    """Fields, and in how many faults they crossed a red limit."""
    broken: int
    """Runs that broke an invariant, of those whose main fault it was."""
    worst_seed: int | None
    """The run to look at: broken, or else the longest to recover from."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole campaign."""

    campaign: str
    first_seed: int
    runs: int
    broken: tuple[RunResult, ...]
    kinds: tuple[KindSummary, ...]
    mission_seconds: float
    host_seconds: float
    """Of all runs together."""
    jobs: dict[str, int]
    commands: int


def summarise(campaign: str, kinds: Sequence[str], first_seed: int, results: Sequence[RunResult]) -> Summary:
    """Put runs together; ``kinds`` gives the order of the rows."""
    jobs: dict[str, int] = {}
    for result in results:
        for state, count in result.jobs.items():
            jobs[state] = jobs.get(state, 0) + count
    return Summary(
        campaign=campaign,
        first_seed=first_seed,
        runs=len(results),
        broken=tuple(sorted((result for result in results if result.is_broken), key=lambda result: result.seed)),
        kinds=tuple(_kind(kind, results) for kind in kinds),
        mission_seconds=sum(result.mission_seconds for result in results),
        host_seconds=sum(result.host_seconds for result in results),
        jobs=dict(sorted(jobs.items())),
        commands=sum(result.commands for result in results),
    )


def _kind(kind: str, results: Sequence[RunResult]) -> KindSummary:
    outcomes = [outcome for result in results for outcome in result.outcomes if outcome.kind == kind]
    own = [result for result in results if result.kind == kind]
    crossed: dict[str, int] = {}
    for outcome in outcomes:
        for name in outcome.limits_crossed:
            crossed[name] = crossed.get(name, 0) + 1
    worst = max(own, key=_badness, default=None)
    return KindSummary(
        kind=kind,
        runs=len(own),
        faults=len(outcomes),
        detected=Spread.of([o.detected_after for o in outcomes if o.detected_after is not None]),
        contained=Spread.of([o.contained_after for o in outcomes if o.contained_after is not None]),
        recovered=Spread.of([o.recovered_after for o in outcomes if o.recovered_after is not None]),
        recovered_since_end=Spread.of(
            [max(0.0, o.recovered_after - o.lasted) for o in outcomes if o.recovered_after is not None]
        ),
        undetected=sum(outcome.detected_after is None for outcome in outcomes),
        work_lost_seconds=max((outcome.work_lost_seconds for outcome in outcomes), default=0.0),
        limits_crossed=tuple(sorted(crossed.items())),
        broken=sum(result.is_broken for result in own),
        worst_seed=None if worst is None else worst.seed,
    )


def _badness(result: RunResult) -> tuple[bool, float]:
    main: FaultOutcome | None = result.outcomes[0] if result.outcomes else None
    if main is None:
        return result.is_broken, 0.0
    return result.is_broken, float("inf") if main.recovered_after is None else main.recovered_after
