"""The self-heating curve: idle, all cores busy, cooling down; time constant and kelvin a watt fitted to it."""

from __future__ import annotations

import statistics

from hil.acceptance.curve import fit
from hil.acceptance.model import Finding, NotApplicableError, Picture, StepError, Value
from hil.acceptance.pictures import Line, draw
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Session
from hil.acceptance.steps.looking import Curves, meters, sample_for, thermometers


async def run(session: Session, step: Step) -> Finding:
    """Heat the board and fit the curve; a board that gets too hot is let off at once."""
    rig, settings = session.rig, step.settings
    watched, watt = thermometers(rig), meters(rig)[:1]
    if not watched and not watt:
        raise NotApplicableError(
            f"board {rig.board.name} has neither a thermometer (thermal.…) nor a meter (meter.…) in the bench file"
        )
    curves, began = Curves(), rig.now()
    marks: list[float] = []
    stop = dict.fromkeys(watched, settings["stop_celsius"])
    too_hot = ""
    phases = (
        ("idle", 0, "idle_seconds"),
        ("full load", int(rig.hello["cores"]), "load_seconds"),
        ("cooling", 0, "cool_seconds"),
    )
    try:
        for name, cores, duration in phases:
            session.tell(f"{name}, {settings[duration]:.0f} s")
            await rig.ask("accept-load", cores=cores)
            marks.append(rig.now() - began)
            limits = stop if cores else {}
            too_hot = (
                await sample_for(rig, curves, began, settings[duration], settings["period_seconds"], limits) or too_hot
            )
    finally:
        await rig.ask("accept-load", cores=0)
    values: list[Value] = []
    lines: list[Line] = []
    evidence = [f"idle until {marks[1]:.0f} s, {rig.hello['cores']} cores busy until {marks[2]:.0f} s, then idle"]
    for name in watt:
        values += _watts(step, curves, name, marks)
        lines.append(Line(name, *curves.of(name), "W"))
    for name in watched:
        found, fitted = _degrees(step, curves, name, watt, marks)
        values += found
        lines += [Line(name, *curves.of(name), "°C", panel=len(watt)), *fitted]
    if any(value is not None for value in curves.hertz):
        good = [(second, value / 1e9) for second, value in zip(curves.seconds, curves.hertz, strict=True) if value]
        lines.append(
            Line(
                "frequency",
                [s for s, _ in good],
                [v for _, v in good],
                "GHz",
                panel=1 + max(line.panel for line in lines),
            )
        )
    pictures: tuple[Picture, ...] = (draw("Self-heating", lines, marks),)
    if not watched:
        evidence.append("no thermometer in the bench file: no curve of temperature, and nothing to fit")
    problem = f"{too_hot} went over {settings['stop_celsius']:g} °C: the load was taken away" if too_hot else ""
    return Finding(values=tuple(values), evidence=tuple(evidence), pictures=pictures, problem=problem)


def _watts(step: Step, curves: Curves, name: str, marks: list[float]) -> list[Value]:
    seconds, watts = curves.of(name)
    idle = [value for second, value in zip(seconds, watts, strict=True) if second < marks[1]]
    # The first second of a load is half idle to a meter that averages.
    load = [value for second, value in zip(seconds, watts, strict=True) if marks[1] + 1.0 < second < marks[2]]
    if not idle or not load:
        raise StepError(f"{name} gave no good readings while the board was idle, or while it was loaded")
    drawn = statistics.median(load)
    return [
        Value(name=f"idle draw of {name}", value=statistics.median(idle), unit="W"),
        Value(name=f"draw under full load of {name}", value=drawn, unit="W"),
        step.value("idle to full load", drawn - statistics.median(idle), "W", of=name),
    ]


def _degrees(
    step: Step, curves: Curves, name: str, watt: list[str], marks: list[float]
) -> tuple[list[Value], list[Line]]:
    rows = [
        (second, celsius, curves.values[watt[0]][index] if watt else float(marks[1] <= second < marks[2]))
        for index, (second, celsius) in enumerate(zip(curves.seconds, curves.values.get(name, []), strict=False))
        if celsius is not None
    ]
    good = [(second, celsius, load) for second, celsius, load in rows if load is not None]
    if not good:
        raise StepError(f"{name} gave no good readings")
    seconds = [second for second, _, _ in good]
    celsius = [value for _, value, _ in good]
    hottest = step.value("hottest", max(celsius), "°C", of=name)
    try:
        found = fit(seconds, [load for _, _, load in good], celsius)
    except ValueError as error:
        raise StepError(f"{name}: {error}") from None
    rise = (
        step.value("rise per watt", found.kelvin_per_watt, "K/W", of=name)
        if watt
        else Value(name=f"rise of {name}", value=found.kelvin_per_watt, unit="K", note="no meter: per full load")
    )
    values = [
        hottest,
        rise,
        step.value("time constant", found.time_constant_seconds, "s", of=name),
        Value(name=f"without load, {name}", value=found.ambient_celsius, unit="°C"),
        step.value("residual", found.residual_kelvin, "K", of=name, note="root mean square of what the fit leaves"),
    ]
    return values, [Line(f"{name}, fitted", seconds, found.fitted_celsius, "°C", panel=len(watt), dashed=True)]
