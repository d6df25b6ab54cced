"""What became of each fault of a run: when it was detected, contained and recovered from, and what it cost.

Pure: it is fed with what services publish and with looks at the plant's truth, and asked at the end.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """One fault of a run. Times are mission seconds; ``None`` where it never came to that.

    Attributes:
        kind: of the catalogue, such as "pump-stop".
        satellite: whose.
        target: the device, load, service, laser or link that it struck; empty where the kind says it all.
        began: seconds from the run's start.
        detected_after: from its beginning until a service told of it in an event.
        contained_after: until the harm no longer grew, or the faulty part was isolated.
        recovered_after: until all was as it should be and stayed so; may lie after the fault was mended.
        work_lost_seconds: of the progress of jobs that had to be repeated, at the speed of an uncapped node.
        limits_crossed: fields whose red limits were crossed from its beginning to its recovery.
        detected_by: service and event, as "thermal.pump_stopped".
        work_lost_joules: that repeating took.
    """

    kind: str
    satellite: str
    began: float
    detected_after: float | None
    contained_after: float | None
    recovered_after: float | None
    work_lost_seconds: float
    limits_crossed: tuple[str, ...]
    target: str = ""
    detected_by: str = ""
    work_lost_joules: float = 0.0
