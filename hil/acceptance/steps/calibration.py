"""Readings against what the person at the bench read off a reference, or against sibling sensors of the board."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from hil.acceptance.model import Finding, NotApplicableError, StepError, Value
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Session
from hil.acceptance.steps.looking import looks
from skyrack.files import suggest

KELVIN, PERCENT = "difference in K", "difference in %"


async def run(session: Session, step: Step) -> Finding:
    """Compare the mean of some looks."""
    unknown = [name for name in session.references if name not in session.rig.devices]
    if unknown:
        raise StepError(f"--reference {unknown[0]}: {suggest(unknown[0], session.rig.devices)}")
    rows = await looks(session, int(step.settings["looks"]), step.settings["period_seconds"])
    means: dict[str, float] = {}
    units: dict[str, str] = {}
    for name, last in rows[-1].items():
        good = [look[name]["value"] for look in rows if look[name]["quality"] == "good"]
        if any(value is not None for value in good):
            means[name] = statistics.fmean(value for value in good if value is not None)
            units[name] = last["unit"]
    lost = [name for name in session.references if name not in means]
    if lost:
        raise StepError(f"{lost[0]} gave no good reading to compare with its reference")
    pairs = {name: ("the reference", reference) for name, reference in session.references.items()} or _siblings(
        means, units
    )
    if not pairs:
        raise NotApplicableError(
            "no reference was given (--reference meter.board=5.02) and no two sensors of the board measure the same"
        )
    values = []
    for name, (against, reference) in pairs.items():
        values.append(_compare(step, name, units[name], means[name], against, reference))
    evidence = [f"{name}: mean of {len(rows)} looks {means[name]:.5g} {units[name]}" for name in pairs]
    return Finding(values=tuple(values), evidence=tuple(evidence))


def _siblings(means: Mapping[str, float], units: Mapping[str, str]) -> dict[str, tuple[str, float]]:
    """Thermometers against the median of all, meters of one name ("meter.board", "meter.board-wall") against another.

    A board that idles has about one temperature; its chip is warmer than its rim, which the limits allow for.
    """
    degrees = {name: value for name, value in means.items() if units[name] == "°C"}
    if len(degrees) < 2:
        found: dict[str, tuple[str, float]] = {}
    else:
        middle = statistics.median(degrees.values())
        found = dict.fromkeys(degrees, ("the median of its siblings", middle))
    for name in means:
        others = [other for other in means if other != name and name.startswith(f"{other}-")]
        if units[name] == "W" and others:
            found[name] = (others[0], means[others[0]])
    return found


def _compare(step: Step, name: str, unit: str, value: float, against: str, reference: float) -> Value:
    note = f"{value:.5g} {unit} against {against}'s {reference:.5g} {unit}"
    if unit == "°C":
        return step.value(KELVIN, value - reference, "K", of=name, note=note)
    if reference == 0.0:
        raise StepError(f"{name}: a reference of 0 {unit} tells nothing; load the board and read it again")
    return step.value(PERCENT, 100.0 * (value - reference) / abs(reference), "%", of=name, note=note)
