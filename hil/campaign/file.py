"""The campaign file: what is flown, which faults are drawn and how often, and what must hold.

    name = "shipped"
    constellation = "demo"
    satellites = 1

    [[kinds]]
    kind = "sensor-bias"
    at_seconds = {from = 300, to = 4000}
    duration_seconds = {from = 60, to = 1200}
    variants = [
        {device = "thermal.node-1", bias = {from = -20, to = 20}},
        {device = ["array", "gnss"], bias = 10},
    ]

In a variant a table ``{from, to}`` is drawn evenly between both, a list is chosen from, anything else is as it stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hil.faults import parse_faults
from skyrack import files
from skyrack.satellite import ConstellationFile, Name, NotNegative, Positive, Ratio, SatelliteFile, load_constellation

Probability = Annotated[float, Meta(ge=0, le=0.9)]
InvariantName = Literal[
    "charge",
    "brown-out",
    "temperature",
    "safe-mode",
    "jobs",
    "results",
    "commands",
    "ledger",
    "services",
    "recovery",
    "run",
]


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Drawn evenly from ``from`` to ``to``; whole numbers where both are."""

    low: int | float = msgspec.field(name="from")
    high: int | float = msgspec.field(name="to")


Value = int | float | str | bool | tuple[str, ...] | Range
Variant = dict[str, Value]


class KindDraw(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How faults of one kind are drawn."""

    kind: str
    # When it begins, seconds after the start of the run.
    at_seconds: Range
    # How long it lasts; absent for kinds that do not last. It is cut so that the fault ends before the run does.
    duration_seconds: Range | None = None
    # Parameters: one variant is taken for each fault, by turns where it is the main one.
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1)] = ({},)
    # How often it accompanies others, beside the other kinds; 0 never.
    companion_weight: NotNegative = 1.0


class ImpairmentsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the backhaul does to frames; each run draws up to these probabilities."""

    loss_ratio: Probability = 0.0
    duplication_ratio: Probability = 0.0
    reordering_ratio: Probability = 0.0


class WorkloadTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Jobs that people submit, and telecommands that they send, in a run."""

    jobs_per_hour: Positive = 4.0
    expected_seconds: Range = msgspec.field(default_factory=lambda: Range(low=200.0, high=1500.0))
    commands_per_hour: NotNegative = 6.0


class InvariantsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must hold. The red limits are those of the dictionary and the satellite file, against the plant's truth."""

    # So far beyond its red limit the truth may be: what sensors and estimates may err by.
    charge_margin_ratio: Ratio = 0.02
    temperature_margin_kelvin: NotNegative = 3.0
    # So long it may be beyond that: what protection needs to see it and to act.
    outside_seconds: NotNegative = 60.0
    # The mode is safe so soon after the truth left a limit whose rule leads to the safe mode.
    safe_within_seconds: NotNegative = 120.0
    # Starts of one service in a run beyond those that a fault or a command has caused.
    unasked_starts: Annotated[int, Meta(ge=0)] = 2


class Excuse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fault that makes an invariant impossible to hold, by physics alone."""

    kind: str
    invariant: InvariantName
    # Only where the fault's parameters are at least these.
    at_least: dict[str, float] = msgspec.field(default_factory=dict)
    because: Annotated[str, Meta(min_length=10)]


class CampaignFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A campaign."""

    name: Name
    description: str = ""
    constellation: str = "demo"
    # Fly only the first so many.
    satellites: Annotated[int, Meta(ge=1)] = 1
    # Faults strike in this time. One orbit of 550 km lasts 5739 s.
    run_seconds: Positive = 5760.0
    # Afterwards all is mended, an operator puts right what was left for one, and all must come to rest.
    drain_seconds: Positive = 900.0
    # Beside the main fault: at least, at most so many others.
    companions: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0, le=50)]] = (0, 2)
    impairments: ImpairmentsTable = msgspec.field(default_factory=ImpairmentsTable)
    workload: WorkloadTable = msgspec.field(default_factory=WorkloadTable)
    invariants: InvariantsTable = msgspec.field(default_factory=InvariantsTable)
    kinds: Annotated[tuple[KindDraw, ...], Meta(min_length=1)]
    excused: tuple[Excuse, ...] = ()


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign file that adds up, with what it flies."""

    file: CampaignFile
    source: Path
    constellation_path: Path
    constellation: ConstellationFile
    designs: dict[str, SatelliteFile]

    @property
    def satellites(self) -> tuple[str, ...]:
        """Names of those that fly."""
        return tuple(self.designs)


def load_campaign(path: Path) -> Campaign:
    """Read and check a campaign file.

    Raises:
        FileError: what does not add up, in one sentence.
    """
    file = files.load(path, CampaignFile)
    constellation_path = files.find("constellations", file.constellation, beside=path)
    constellation, designs = load_constellation(constellation_path)
    if file.satellites > len(constellation.satellites):
        problem = f"{constellation.name} has only {len(constellation.satellites)}"
        raise files.FileError(path, problem, key="satellites", value=file.satellites)
    kept = constellation.satellites[: file.satellites]
    campaign = Campaign(
        file=file,
        source=path,
        constellation_path=constellation_path,
        constellation=msgspec.structs.replace(constellation, satellites=kept),
        designs={satellite.name: designs[satellite.name] for satellite in kept},
    )
    _check(campaign)
    return campaign


def _check(campaign: Campaign) -> None:
    file, path = campaign.file, campaign.source
    if file.companions[0] > file.companions[1]:
        raise files.FileError(path, "must be [least, most]", key="companions", value=list(file.companions))
    for number, kind in enumerate(file.kinds):
        where = f"kinds[{number}]"
        _check_ranges(campaign, kind, where)
        for variant in kind.variants:
            _check_variant(campaign, kind, variant, where)
    kinds = [kind.kind for kind in file.kinds]
    if len(set(kinds)) < len(kinds):
        raise files.FileError(path, "each kind must be there once; give it several variants", key="kinds")


def _check_ranges(campaign: Campaign, kind: KindDraw, where: str) -> None:
    path = campaign.source
    spans = [("at_seconds", kind.at_seconds), ("duration_seconds", kind.duration_seconds)]
    for variant in kind.variants:
        for name, value in variant.items():
            if value == ():
                raise files.FileError(path, "must name something to choose from", key=f"{where}.variants.{name}")
            spans += [(name, value)] if isinstance(value, Range) else []
    for name, span in spans:
        if span is not None and not span.low <= span.high:
            raise files.FileError(path, f"from must not be above to = {span.high:g}", key=f"{where}.{name}.from")
    if not 0 <= kind.at_seconds.low <= kind.at_seconds.high < campaign.file.run_seconds:
        problem = f"faults must begin within the run of {campaign.file.run_seconds:g} s"
        raise files.FileError(path, problem, key=f"{where}.at_seconds")


def _check_variant(campaign: Campaign, kind: KindDraw, variant: Variant, where: str) -> None:
    table: dict[str, object] = {"kind": kind.kind, "satellite": campaign.satellites[0], "at_seconds": 0.0}
    if kind.duration_seconds is not None:
        table["duration_seconds"] = float(kind.duration_seconds.high)
    for end in ("low", "high"):
        for name, value in variant.items():
            picked = value[0] if isinstance(value, tuple) else value
            table[name] = getattr(picked, end) if isinstance(picked, Range) else picked
        fault = parse_faults([table], f"{campaign.source}: {where}")[0]
        if fault.lasts and kind.duration_seconds is None:
            raise files.FileError(campaign.source, f"{kind.kind} lasts: say how long", key=f"{where}.duration_seconds")
        if not fault.lasts and kind.duration_seconds is not None:
            problem = f"{kind.kind} does not last: leave it out"
            raise files.FileError(campaign.source, problem, key=f"{where}.duration_seconds")
