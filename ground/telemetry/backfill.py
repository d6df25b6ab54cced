"""What to ask a satellite's recorder for, and when. Pure.

Gaps are asked for while an optical link is up, newest first, neighbouring ones of a topic as one range; at most so many
bytes in one contact, and each gap at most three times: what has not come then is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ground.telemetry.pipeline import Kind, SatellitePipeline
from ground.telemetry.sequences import Gap
from skyrack.v1.gateway_pb2 import BackfillRange, BackfillRequest

__all__ = ["BackfillSettings", "Backfiller", "Missing", "missing_of"]

_RANGES_MAXIMUM: Final = 100
_WINDOW_SECONDS: Final = 2 * 3600.0
_NEAR_SECONDS: Final = 300.0
"""Gaps so near to each other are asked for as one, with what lies between: it costs less than to leave it out."""


@dataclass(frozen=True, slots=True)
class BackfillSettings:
    """Times in mission seconds."""

    request_bytes: int = 1 << 20
    contact_bytes: int = 16 << 20
    settle_seconds: float = 60.0
    """A gap so young may be a frame that is sent again."""
    pause_seconds: float = 30.0
    """Between two requests to one satellite."""
    retry_seconds: float = 300.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Missing:
    """A gap of a topic."""

    kind: Kind
    incarnation: int
    gap: Gap


def missing_of(pipeline: SatellitePipeline) -> list[Missing]:
    """All gaps of a satellite."""
    return [
        Missing(kind, incarnation, gap)
        for kind, topic in pipeline.topics.items()
        for incarnation, received in topic.lives().items()
        for gap in received.gaps()
    ]


@dataclass(slots=True)
class _Asked:
    times: int = 0
    last: float = 0.0


@dataclass(slots=True)
class Backfiller:
    """Asks one satellite."""

    settings: BackfillSettings = field(default_factory=BackfillSettings)
    contact: int = -1
    budget_bytes: int = 0
    last_request: float = -float("inf")
    requests: int = 0
    asked: dict[tuple[Kind, int, int], _Asked] = field(default_factory=dict)

    def next_request(self, pipeline: SatellitePipeline, contact: int, now: float) -> BackfillRequest | None:
        """What to ask for now in this contact; None is nothing. What was asked for too often is given up."""
        if contact != self.contact:
            self.contact, self.budget_bytes = contact, self.settings.contact_bytes
        if self.budget_bytes <= 0 or now - self.last_request < self.settings.pause_seconds:
            return None
        due = self._due(pipeline, now)
        if not due:
            return None
        ranges = _merged(due)[:_RANGES_MAXIMUM]
        for missing in due:
            asked = self.asked.setdefault(_name(missing), _Asked())
            asked.times, asked.last = asked.times + 1, now
        self.last_request = now
        self.requests += 1
        size = min(self.settings.request_bytes, self.budget_bytes)
        self.budget_bytes -= size
        return BackfillRequest(ranges=ranges, maximum_bytes=size)

    def _due(self, pipeline: SatellitePipeline, now: float) -> list[Missing]:
        settings = self.settings
        found: list[Missing] = []
        names = set()
        for missing in missing_of(pipeline):
            name = _name(missing)
            names.add(name)
            asked = self.asked.get(name)
            if asked is not None and now - asked.last < settings.retry_seconds:
                continue
            if asked is not None and asked.times >= settings.attempts:
                lives = pipeline.topics[missing.kind].lives()
                lives[missing.incarnation].fill(missing.gap)
                pipeline.topics[missing.kind].touched.add(missing.incarnation)
                continue
            if missing.gap.end_seconds <= pipeline.newest_seconds - settings.settle_seconds:
                found.append(missing)
        for name in [name for name in self.asked if name not in names]:
            del self.asked[name]
        found.sort(key=lambda missing: missing.gap.end_seconds, reverse=True)
        if not found:
            return []
        oldest = found[0].gap.end_seconds - _WINDOW_SECONDS
        topics: set[tuple[Kind, int]] = set()
        chosen = []
        for missing in found:
            topic = (missing.kind, missing.incarnation)
            if missing.gap.end_seconds < oldest or (topic not in topics and len(topics) >= _RANGES_MAXIMUM):
                continue
            topics.add(topic)
            chosen.append(missing)
        return chosen


def _name(missing: Missing) -> tuple[Kind, int, int]:
    return missing.kind, missing.incarnation, missing.gap.last_sequence


def _merged(found: Iterable[Missing]) -> list[BackfillRange]:
    """Ranges to ask for; newest first."""
    topics: dict[tuple[Kind, int], list[Gap]] = {}
    for missing in found:
        topics.setdefault((missing.kind, missing.incarnation), []).append(missing.gap)
    ranges = []
    for ((message_type, source, key), incarnation), gaps in topics.items():
        gaps.sort(key=lambda gap: gap.first_sequence)
        joined = [gaps[0]]
        for gap in gaps[1:]:
            last = joined[-1]
            if gap.start_seconds - last.end_seconds <= _NEAR_SECONDS:
                joined[-1] = Gap(last.first_sequence, gap.last_sequence, last.start_seconds, gap.end_seconds)
            else:
                joined.append(gap)
        ranges += [
            BackfillRange(
                message_type=message_type,
                key=key,
                source=source,
                incarnation=incarnation,
                first_sequence=gap.first_sequence,
                last_sequence=gap.last_sequence,
                start_seconds=gap.start_seconds,
                end_seconds=gap.end_seconds,
            )
            for gap in joined
        ]
    ranges.sort(key=lambda item: item.end_seconds, reverse=True)
    return ranges
