"""What follows when ground and satellite compare which jobs are open on board. Pure: no clock, no store.

What is compared is never on the way. The ground's question is an item of the status stream, and the satellite answers
it only when all that the ground said before it has been taken; the answer is such an item too, and is heeded only when
all that the satellite said before it has been taken. So a placement in an outbox was not asked about, a status on its
way down was applied before the answer, and what still differs is lost.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ground.placement import PlacementSettings
from skyrack.jobs import JobState

__all__ = ["TABLE", "Action", "Board", "BoardSays", "GroundSays", "Record", "decide", "renewed_lease"]


@dataclass(frozen=True, slots=True)
class Record:
    """What the ground's record says of a job, as far as one satellite is concerned."""

    attempt: int
    version: int
    """Of the last status that was applied of the attempt that the satellite names."""
    is_held: bool
    """The attempt is the job's present one, was given to this satellite, and is not over."""
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """What the satellite says of a job."""

    attempt: int
    state: JobState | None
    """``None``: it never heard of it, or forgot."""
    version: int = 0
    lease_end_seconds: float = 0.0
    telling: bool = False
    """Statuses are still on their way from compute to the gateway."""


class GroundSays(enum.Enum):
    """Where a job stands in the ground's record."""

    HELD = "held"
    """The satellite has it, and is to have it."""
    CANCELLED = "cancelled"
    """The satellite has it, and was asked to end it."""
    OVER = "over"
    """The satellite has no business with it: it is over, has another attempt, or is unknown."""


class BoardSays(enum.Enum):
    """Where a job stands on board."""

    UNKNOWN = "unknown"
    OPEN = "open"
    OPEN_UNHEARD = "open, unheard"
    """It is open, and a status of it never came."""
    OVERTAKEN = "overtaken"
    """It was open when the answer was made; a later status has come before the answer."""
    ENDING = "ending"
    """It is over there, or unknown, and word of it is still on its way to the gateway."""
    ENDED_UNHEARD = "ended, unheard"
    """It is over there, and its last status never came."""
    ENDED = "ended"
    """It is over there, and all statuses of it have come; none of them ended it here."""


class Action(enum.Enum):
    """What the ground does about it."""

    NOTHING = "nothing"
    FORGOTTEN = "forgotten"
    """The attempt is over: fence it, and let the job be placed again."""
    CANCEL = "cancel"
    TELL_AGAIN = "tell again"
    """Ask for its last status once more."""
    RENEW = "renew"
    """Prolong its lease when that is due."""


TABLE: Final[Mapping[tuple[GroundSays, BoardSays], Action]] = {
    (GroundSays.HELD, BoardSays.UNKNOWN): Action.FORGOTTEN,
    (GroundSays.HELD, BoardSays.OPEN): Action.RENEW,
    (GroundSays.HELD, BoardSays.OPEN_UNHEARD): Action.TELL_AGAIN,
    (GroundSays.HELD, BoardSays.OVERTAKEN): Action.RENEW,
    (GroundSays.HELD, BoardSays.ENDING): Action.NOTHING,
    (GroundSays.HELD, BoardSays.ENDED_UNHEARD): Action.TELL_AGAIN,
    (GroundSays.HELD, BoardSays.ENDED): Action.FORGOTTEN,
    (GroundSays.CANCELLED, BoardSays.UNKNOWN): Action.FORGOTTEN,
    (GroundSays.CANCELLED, BoardSays.OPEN): Action.CANCEL,
    (GroundSays.CANCELLED, BoardSays.OPEN_UNHEARD): Action.CANCEL,
    (GroundSays.CANCELLED, BoardSays.OVERTAKEN): Action.CANCEL,
    (GroundSays.CANCELLED, BoardSays.ENDING): Action.NOTHING,
    (GroundSays.CANCELLED, BoardSays.ENDED_UNHEARD): Action.TELL_AGAIN,
    (GroundSays.CANCELLED, BoardSays.ENDED): Action.FORGOTTEN,
    (GroundSays.OVER, BoardSays.UNKNOWN): Action.NOTHING,
    (GroundSays.OVER, BoardSays.OPEN): Action.CANCEL,
    (GroundSays.OVER, BoardSays.OPEN_UNHEARD): Action.CANCEL,
    (GroundSays.OVER, BoardSays.OVERTAKEN): Action.NOTHING,
    (GroundSays.OVER, BoardSays.ENDING): Action.NOTHING,
    (GroundSays.OVER, BoardSays.ENDED_UNHEARD): Action.NOTHING,
    (GroundSays.OVER, BoardSays.ENDED): Action.NOTHING,
}
"""Each pair has its answer. FORGOTTEN, for a job that was cancelled, ends it as cancelled."""


def decide(record: Record | None, board: Board) -> Action:
    """What to do about one job that a satellite's answer names; ``record`` is ``None`` for one unknown here."""
    return TABLE[_ground_says(record, board), _board_says(record, board)]


def _ground_says(record: Record | None, board: Board) -> GroundSays:
    if record is None or not record.is_held or record.attempt != board.attempt:
        return GroundSays.OVER
    return GroundSays.CANCELLED if record.is_cancelled else GroundSays.HELD


def _board_says(record: Record | None, board: Board) -> BoardSays:
    is_unheard = record is None or board.version > record.version
    if board.state is None:
        return BoardSays.ENDING if board.telling else BoardSays.UNKNOWN
    if not board.state.final:
        if record is not None and record.version > board.version:
            return BoardSays.OVERTAKEN
        return BoardSays.OPEN_UNHEARD if is_unheard and not board.telling else BoardSays.OPEN
    if board.telling:
        return BoardSays.ENDING
    return BoardSays.ENDED_UNHEARD if is_unheard else BoardSays.ENDED


def renewed_lease(
    board: Board, recorded_end_seconds: float, deadline_seconds: float, now: float, settings: PlacementSettings
) -> float | None:
    """Until when the lease of a job that is open on board is to last now; ``None`` while it lasts long enough.

    A job that has not begun is not renewed: at its lease's end it may begin elsewhere. The recorded end is never
    undercut, for a renewal that was sent may yet arrive.
    """
    if board.state not in (JobState.RUNNING, JobState.PREEMPTED) or now >= board.lease_end_seconds > 0:
        return None
    end = max(now + settings.lease_seconds, recorded_end_seconds)
    if deadline_seconds:
        end = min(end, deadline_seconds)
    is_short = board.lease_end_seconds < now + settings.lease_renewal_ratio * settings.lease_seconds
    is_behind = board.lease_end_seconds < recorded_end_seconds
    return end if end > board.lease_end_seconds > 0 and (is_short or is_behind) else None
