"""What happens in a run, drawn from its seed: faults, telecommands, impairments. Pure: equal seeds draw alike.

The main fault of a run is not left to chance: kinds take turns, and a kind's variants do, so that N seeds cover every
kind evenly. Companions are drawn by weight.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.campaign.file import Campaign, ImpairmentsTable, KindDraw, Range, Value
from hil.faults import Fault, parse_faults

if TYPE_CHECKING:
    from collections.abc import Sequence

MEND_SECONDS = 60.0
"""Faults end this long before the run does."""
ROUND_DIGITS = 4
COMMANDS = ("parameters", "ledger", "backfill", "pump", "laser", "drain", "restart", "safe", "switch")


@dataclass(frozen=True, slots=True)
class Telecommanded:
    """A telecommand that a person sends; seconds after the start of the run."""

    at_seconds: float
    satellite: str
    method: str
    service: str
    arguments: tuple[tuple[str, float | str | bool], ...] = ()


def main_kind(campaign: Campaign, seed: int) -> KindDraw:
    """The kind whose turn it is."""
    kinds = campaign.file.kinds
    return kinds[seed % len(kinds)]


def draw(campaign: Campaign, seed: int) -> tuple[Fault, ...]:
    """The faults of a run; the main one is the first."""
    rng = _rng(campaign, seed, "faults")
    kinds = campaign.file.kinds
    turn = seed // len(kinds)
    main = main_kind(campaign, seed)
    tables = [_fault(campaign, main, turn % len(main.variants), rng)]
    weights = [kind.companion_weight for kind in kinds]
    count = rng.randint(*campaign.file.companions) if any(weights) else 0
    companions = rng.choices(kinds, weights, k=count) if count else []
    tables += [_fault(campaign, kind, rng.randrange(len(kind.variants)), rng) for kind in companions]
    kept: dict[tuple[str, str, str], Fault] = {}
    for fault in parse_faults(tables, f"{campaign.source}, seed {seed}"):
        # The end of one would mend another that strikes the same part.
        kept.setdefault((fault.kind, fault.satellite, fault.target), fault)
    return tuple(kept.values())


def draw_impairments(campaign: Campaign, seed: int) -> ImpairmentsTable:
    """What the backhaul does to frames in a run: nothing in every third, else up to what the campaign allows."""
    rng = _rng(campaign, seed, "impairments")
    most = campaign.file.impairments
    share = [0.0 if rng.random() < 1 / 3 else rng.random() for _ in range(3)]
    return ImpairmentsTable(
        loss_ratio=round(most.loss_ratio * share[0], ROUND_DIGITS),
        duplication_ratio=round(most.duplication_ratio * share[1], ROUND_DIGITS),
        reordering_ratio=round(most.reordering_ratio * share[2], ROUND_DIGITS),
    )


def draw_commands(campaign: Campaign, seed: int, services: Sequence[str]) -> tuple[Telecommanded, ...]:
    """The telecommands of a run in order of time; ``services`` are those on board."""
    per_hour = campaign.file.workload.commands_per_hour
    if per_hour == 0:
        return ()
    rng = _rng(campaign, seed, "commands")
    commands: list[Telecommanded] = []
    at_seconds = 0.0
    while True:
        at_seconds += rng.expovariate(per_hour / 3600.0)
        if at_seconds >= campaign.file.run_seconds:
            return tuple(sorted(commands, key=lambda command: command.at_seconds))
        satellite = rng.choice(campaign.satellites)
        commands += _command(campaign, rng, round(at_seconds, 1), satellite, services)


def _command(
    campaign: Campaign, rng: random.Random, at: float, satellite: str, services: Sequence[str]
) -> list[Telecommanded]:
    design = campaign.designs[satellite]

    def one(method: str, service: str = "", /, **arguments: float | str | bool) -> Telecommanded:
        return Telecommanded(at, satellite, method, service, tuple(arguments.items()))

    what = rng.choice(COMMANDS)
    if what == "safe":
        later = min(at + rng.uniform(200.0, 600.0), campaign.file.run_seconds)
        back = Telecommanded(round(later, 1), satellite, "SetMode", "", (("mode", "MODE_NOMINAL"),))
        return [one("SetMode", mode="MODE_SAFE"), back]
    duty, hold = round(rng.uniform(0.5, 1.0), 2), float(rng.randint(10, 120))
    lasers = [laser.name for laser in design.lasers]
    others = {
        "parameters": one("GetParameters", rng.choice(services)),
        "ledger": one("GetLedger"),
        "backfill": one("Backfill", maximum_bytes=20_000),
        "pump": one("SetPump", duty_ratio=duty, hold_seconds=hold),
        "laser": one("SetLaser", terminal=rng.choice(lasers), enabled=True) if lasers else one("GetLedger"),
        "restart": one("RestartService", service=rng.choice(services)),
        "switch": one("SetLoadSwitch", load=rng.choice(design.nodes).name, closed=True),
        "drain": one("SetDrain", draining=False),
    }
    return [others[what]]


def _fault(campaign: Campaign, kind: KindDraw, variant: int, rng: random.Random) -> dict[str, object]:
    at_seconds = _in(kind.at_seconds, rng)
    table: dict[str, object] = {"kind": kind.kind, "satellite": rng.choice(campaign.satellites)}
    table["at_seconds"] = at_seconds
    if kind.duration_seconds is not None:
        room = max(1.0, campaign.file.run_seconds - MEND_SECONDS - at_seconds)
        table["duration_seconds"] = min(_in(kind.duration_seconds, rng), room)
    for name, value in kind.variants[variant].items():
        table[name] = _value(value, rng)
    return table


def _value(value: Value, rng: random.Random) -> object:
    if isinstance(value, tuple):
        return rng.choice(value)
    return _in(value, rng) if isinstance(value, Range) else value


def _in(span: Range, rng: random.Random) -> int | float:
    if isinstance(span.low, int) and isinstance(span.high, int):
        return rng.randint(span.low, span.high)
    # Few digits: a fault file that a person reads draws the same as the run that wrote it.
    return float(f"{rng.uniform(span.low, span.high):.{ROUND_DIGITS}g}")


def _rng(campaign: Campaign, seed: int, what: str) -> random.Random:
    return random.Random(f"{campaign.file.name}/{seed}/{what}")
