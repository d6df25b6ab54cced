"""Steps of the cap, and how fast what is drawn follows: on a rack node in watts, on a bare throttle in hertz, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hil.acceptance.model import Finding, NotApplicableError, StepError, Value
from hil.acceptance.pictures import Line, draw
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Rig, Session
from hil.acceptance.settling import settled
from hil.acceptance.steps.looking import Curves, kind, meters, sample_for

BAND = 0.15
"""Of the step: what a value that has settled may still move."""
LEAST_BAND_WATTS = 0.1

SetCap = Callable[[float], Awaitable[None]]
"""Sets the cap as a part of what is between slowest and free."""


async def run(session: Session, step: Step) -> Finding:
    """Step the cap down twice and let go."""
    rig = session.rig
    node = next(iter(rig.nodes), "")
    throttle = next((name for name in rig.devices if kind(name) == "throttle"), "")
    if node and rig.nodes[node]["meter"]:
        return await _on_node(session, step, node)
    if throttle:
        return await _on_throttle(session, step, throttle)
    raise NotApplicableError(
        f"board {rig.board.name} has neither a rack node with a meter nor a throttle (throttle.…) in the bench file"
    )


async def _on_node(session: Session, step: Step, node: str) -> Finding:
    rig, facts = session.rig, session.rig.nodes[node]
    scale, meter = float(facts["scale"]), str(facts["meter"])
    idle, peak = float(facts["idle_watts"]), float(facts["peak_watts"])
    try:
        answer = await rig.ask("accept-node", seconds=20.0, node=node, does="start", watts=peak)
        if answer["state"] != "running":
            raise StepError(f"{node} does not run the load: {answer['reason'] or answer['state']}")
        session.tell(f"{node} without a cap")
        free = await _free(rig, step, meter)

        async def cap(part: float) -> None:
            # Between what the board draws idle for the satellite, and what it draws now.
            await rig.ask("accept-node", node=node, does="cap", watts=_part(part, idle, scale * free))

        return await _steps(session, step, meter, cap, lambda part: _part(part, idle, scale * free) / scale)
    finally:
        await rig.ask("accept-node", seconds=20.0, node=node, does="stop", watts=peak)


async def _on_throttle(session: Session, step: Step, throttle: str) -> Finding:
    rig = session.rig
    meter = next(iter(meters(rig)), "")
    try:
        await rig.ask("accept-load", cores=int(rig.hello["cores"]))
        await _free(rig, step, meter)

        async def cap(part: float) -> None:
            await rig.ask("accept-cap", throttle=throttle, ratio=part)

        return await _steps(session, step, meter, cap, None)
    finally:
        await rig.ask("accept-cap", throttle=throttle, ratio=1.0)
        await rig.ask("accept-load", cores=0)


def _part(part: float, idle: float, free: float) -> float:
    return idle + part * (free - idle)


async def _free(rig: Rig, step: Step, meter: str) -> float:
    """Median draw without a cap, W of the board; 0 without a meter."""
    curves = Curves()
    settings = step.settings
    await sample_for(rig, curves, rig.now(), settings["free_seconds"], settings["period_seconds"], {})
    watts = sorted(curves.of(meter)[1][len(curves.seconds) // 3 :]) if meter else []
    if meter and not watts:
        raise StepError(f"{meter} gave no good readings under load")
    return watts[len(watts) // 2] if watts else 0.0


async def _steps(
    session: Session, step: Step, meter: str, cap: SetCap, allowed: Callable[[float], float] | None
) -> Finding:
    rig, settings = session.rig, step.settings
    curves, began = Curves(), rig.now()
    parts = (1.0, settings["first"], settings["second"], 1.0)
    marks: list[float] = []
    for part in parts:
        session.tell(f"cap at {part:.0%}")
        marks.append(rig.now() - began)
        await cap(part)
        await sample_for(rig, curves, began, settings["hold_seconds"], settings["period_seconds"], {})
    values: list[Value] = []
    lines: list[Line] = []
    gigahertz = [(second, value / 1e9) for second, value in zip(curves.seconds, curves.hertz, strict=True) if value]
    for name, unit, seconds, series in (
        (meter, "W", *curves.of(meter)),
        ("frequency", "GHz", [second for second, _ in gigahertz], [value for _, value in gigahertz]),
    ):
        if not series:
            continue
        lines.append(Line(name, seconds, series, unit, panel=len(lines)))
        span = max(series) - min(series)
        if unit == "GHz" and span < 0.05 * max(series):
            continue  # the cap is not held by the frequency here
        rests: dict[float, float] = {}
        for index, (mark, part) in enumerate(zip(marks, parts, strict=True)):
            if index == 0:
                continue
            end = marks[index + 1] if index + 1 < len(marks) else float("inf")
            inside = [(s, v) for s, v in zip(seconds, series, strict=True) if s < end]
            band = max(LEAST_BAND_WATTS if unit == "W" else 0.02, BAND * span)
            found = settled(
                [s for s, _ in inside], [v for _, v in inside], mark, band, window_seconds=settings["window_seconds"]
            )
            of = f"{name} at {part:.0%}"
            values.append(step.value("settling", found.settling_seconds, "s", of=of))
            values.append(Value(name=f"rest of {of}", value=found.final, unit=unit))
            rests[part] = found.final
            if unit == "W" and allowed is not None and part < 1.0:
                over = 100.0 * (found.final - allowed(part)) / allowed(part)
                values.append(step.value("over the cap", over, "%", of=of, note=f"cap {allowed(part):.3g} W"))
        # What never moved has settled at once: it must have moved.
        less = 100.0 * (1.0 - rests[parts[2]] / rests[1.0]) if rests.get(1.0) else None
        values.append(step.value("reduction", less, "%", of=f"{name} at {parts[2]:.0%}"))
    if not values:
        raise NotApplicableError("there is neither a meter nor a frequency that follows the cap to be seen")
    return Finding(
        values=tuple(values),
        evidence=(f"cap at 100 %, {parts[1]:.0%}, {parts[2]:.0%} and 100 %, {settings['hold_seconds']:g} s each",),
        pictures=(draw("Throttle", lines, marks),),
    )
