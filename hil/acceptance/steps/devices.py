"""Every device of the board answers, in range, as often as it is asked; what can be exercised safely is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hil.acceptance.model import Finding, Value
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Session
from hil.acceptance.steps.looking import looks


async def run(session: Session, step: Step) -> Finding:
    """Look at all devices again and again."""
    count = int(step.settings["looks"])
    # What counts energy, or averages, has nothing to say the first time.
    await looks(session, 1, 0.0)
    await session.rig.sleep(step.settings["period_seconds"])
    rows = await looks(session, count, step.settings["period_seconds"], exercise=True)
    values: list[Value] = []
    evidence: list[str] = []
    problems: list[str] = []
    slowest = 0.0
    not_good = 0
    for name, last in rows[-1].items():
        bad = [look[name] for look in rows if look[name]["quality"] != "good" or look[name]["failed"]]
        not_good += len(bad)
        problems += [bad[-1]["problem"] or bad[-1]["exercise"]] if bad else []
        slowest = max(slowest, last["read_seconds"] or 0.0)
        how = f", {last['how']}" if last["how"] else ""
        exercised = f"; {last['exercise']}" if last["exercise"] else ""
        evidence.append(f"{name} ({last['driver']}{how}): {_shown(last)}{exercised}")
        if last["value"] is not None:
            values.append(Value(name=name, value=last["value"], unit=last["unit"], note=last["quality"]))
    values.insert(0, step.value("not good", float(not_good), f"of {count * len(rows[-1])} readings"))
    values.insert(1, step.value("read time", slowest, "s", note="the slowest device's median"))
    return Finding(values=tuple(values), evidence=tuple(evidence), problem="; ".join(dict.fromkeys(problems)))


def _shown(row: Mapping[str, Any]) -> str:
    text, unit = str(row["text"] or "nothing"), str(row["unit"])
    return text if not unit or text.endswith(unit) else f"{text} {unit}"
