"""What a bench is seen to do, again and again: the plant's truth, and what its boards tell. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.boards.session import BoardView


@dataclass(frozen=True, slots=True)
class Sample:
    """A board of the bench at a time: the plant's truth, and the board's figures (``None`` while it is silent).

    ``node_watts`` and ``chip_celsius`` are of the rack nodes that this board is.
    """

    mission_time_seconds: float
    satellite: str
    board: str
    sunlit_ratio: float
    state_of_charge_ratio: float
    array_watts: float
    node_watts: float
    chip_celsius: float | None
    radiator_celsius: float
    real_watts: float | None = None
    cap_watts: float | None = None
    throttle_ratio: float | None = None
    duty_ratio: float | None = None
    working: bool = False


def sample_of(view: BoardView, nodes: Sequence[str], truth: Mapping[str, float], now: float) -> Sample:
    """A board at a mission time; ``nodes`` are the rack nodes that it is, ``truth`` is its satellite's."""
    notes = [view.nodes[name] for name in nodes if name in view.nodes]
    up = view.link == "up"
    return Sample(
        mission_time_seconds=now,
        satellite=view.satellite,
        board=view.name,
        sunlit_ratio=truth["orbit.sunlit_ratio"],
        state_of_charge_ratio=truth["battery.state_of_charge_ratio"],
        array_watts=truth["array.watts"],
        node_watts=sum(truth[f"load.{name}.watts"] for name in nodes),
        chip_celsius=max((truth[f"thermal.{name}.celsius"] for name in nodes), default=None),
        radiator_celsius=truth["thermal.radiator.celsius"],
        real_watts=_sum(notes, "real_watts") if up else None,
        cap_watts=_sum(notes, "cap_watts") if up else None,
        throttle_ratio=_least(notes, "throttle_ratio") if up else None,
        duty_ratio=_least(notes, "duty_ratio") if up else None,
        working=any(note["running"] for note in notes),
    )


def together(samples: Sequence[Sample]) -> list[Sample]:
    """The boards of one satellite as if they were one: a sample for each time, of the samples that were taken then."""
    found: dict[float, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.mission_time_seconds, []).append(sample)
    return [_as_one(of_a_time) for of_a_time in found.values()]


def _as_one(samples: Sequence[Sample]) -> Sample:
    if len(samples) == 1:
        return samples[0]
    each = [dataclasses.asdict(sample) for sample in samples]
    return dataclasses.replace(
        samples[0],
        board="",
        node_watts=sum(sample.node_watts for sample in samples),
        chip_celsius=max((s.chip_celsius for s in samples if s.chip_celsius is not None), default=None),
        real_watts=_sum(each, "real_watts"),
        cap_watts=_sum(each, "cap_watts"),
        throttle_ratio=_least(each, "throttle_ratio"),
        duty_ratio=_least(each, "duty_ratio"),
        working=any(sample.working for sample in samples),
    )


def _sum(notes: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [note[key] for note in notes if note.get(key) is not None]
    return sum(values) if values else None


def _least(notes: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return min((note[key] for note in notes if note.get(key) is not None), default=None)
