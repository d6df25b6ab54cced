"""What a run on a bench is judged by. Pure: samples and views in, figures out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.boards.samples import Sample
    from hil.boards.session import BoardView

FOLLOWS_SECONDS = 2.0
"""A cap that was lowered shall hold within this, in seconds of the host, at any rate of mission time."""


@dataclass(frozen=True, slots=True)
class BoardFigures:
    """A board over a run; watts are the satellite's unless they are ``real``, times are the host's.

    ``rack_node`` is the node of the satellite that the board is, and empty for the one that flies it; that one counts
    as the nodes that no other board is. ``how`` says how the watts were had: measured by what, or modelled from what.
    ``settled_seconds`` are the times until the draw was under a cap that was lowered, and ``over_cap_seconds`` how long
    it is over one at the end. ``None`` is: never known.
    """

    board: str
    satellite: str
    rack_node: str
    how: str
    real_watts_mean: float | None
    real_watts_peak: float | None
    node_watts_mean: float | None
    node_watts_eclipse: float | None
    hottest_chip_celsius: float | None
    lowest_state_of_charge_ratio: float | None
    caps_lowered: int
    settled_median_seconds: float | None
    settled_longest_seconds: float | None
    over_cap_seconds: float
    clock_offset_seconds: float | None
    clock_error_seconds: float | None
    clock_drift: float | None
    same_clock: bool
    losses: int
    lost_seconds: float
    boots: int
    guards_acted: int


def figures_of(view: BoardView, samples: Sequence[Sample]) -> BoardFigures:
    """Figures of a board."""
    mine = [sample for sample in samples if sample.board == view.name]
    real = [sample.real_watts for sample in mine if sample.real_watts is not None]
    settled = settled_seconds(view.nodes)
    known = view.agreement
    dark = [sample.node_watts for sample in mine if sample.sunlit_ratio < 0.5]
    return BoardFigures(
        board=view.name,
        satellite=view.satellite,
        rack_node=view.rack_node,
        how="; ".join(sorted({str(note.get("how", "")) for note in view.nodes.values()} - {""})),
        real_watts_mean=_mean(real),
        real_watts_peak=max(real, default=None),
        node_watts_mean=_mean([sample.node_watts for sample in mine]),
        node_watts_eclipse=_mean(dark),
        hottest_chip_celsius=max((s.chip_celsius for s in mine if s.chip_celsius is not None), default=None),
        lowest_state_of_charge_ratio=min((sample.state_of_charge_ratio for sample in mine), default=None),
        caps_lowered=len(settled),
        settled_median_seconds=statistics.median(settled) if settled else None,
        settled_longest_seconds=max(settled, default=None),
        over_cap_seconds=max((float(note.get("over_cap_seconds", 0.0)) for note in view.nodes.values()), default=0.0),
        clock_offset_seconds=None if known is None else known.offset_seconds,
        clock_error_seconds=None if known is None else known.error_seconds + abs(view.anchor_error_seconds),
        clock_drift=None if known is None else known.drift,
        same_clock=view.same_clock,
        losses=view.losses,
        lost_seconds=view.lost_seconds,
        boots=view.boots,
        guards_acted=len(view.guards.get("acted", ())),
    )


def settled_seconds(nodes: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """Of all nodes of a board."""
    return [seconds for note in nodes.values() for seconds in note.get("settled_seconds", ())]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
