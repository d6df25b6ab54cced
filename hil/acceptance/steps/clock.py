"""The board's clocks against this computer's: offset, how surely it is known, drift."""

from __future__ import annotations

import statistics

from hil.acceptance.model import Finding, Value
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Session
from hil.boards.clocks import OffsetEstimator


async def run(session: Session, step: Step) -> Finding:
    """Ask the board's clock again and again."""
    rig, estimator = session.rig, OffsetEstimator()
    trips: list[float] = []
    ahead: list[tuple[float, float]] = []
    last = None
    for _ in range(int(step.settings["round_trips"])):
        trip, utc_ahead = await rig.round_trip()
        estimator.add(trip)
        trips.append(trip.received - trip.sent)
        ahead.append((trip.received - trip.sent, utc_ahead))
        last = trip
        await rig.sleep(step.settings["period_seconds"])
    now = estimator.agreement(last.received if last is not None else 0.0)
    # The offset of the quickest answer is the surest.
    utc = min(ahead)[1]
    drift = None if now is None or now.drift is None else 1e6 * now.drift
    values = [
        step.value("round trip", statistics.median(trips), "s", note=f"median of {len(trips)}"),
        Value(name="quickest round trip", value=min(trips), unit="s"),
        step.value(
            "error", None if now is None else now.error_seconds, "s", note="half the quickest trip, and its age"
        ),
        step.value("UTC offset", utc, "s", note="the board is ahead"),
    ]
    evidence = []
    if drift is not None:
        error = f"± {1e6 * (now.drift_error or 0.0):.1f} ppm" if now is not None else ""
        values.append(step.value("drift", drift, "ppm", note=error))
    else:
        evidence.append("too short for a drift: it takes samples that are far apart")
    return Finding(values=tuple(values), evidence=tuple(evidence))
