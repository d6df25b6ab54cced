"""The stages of telecommands and sequences: their names, their order, and which are the last."""

from __future__ import annotations

from typing import Final

from skyrack.v1 import backhaul_pb2 as contract
from skyrack.v1.backhaul_pb2 import TelecommandStage

__all__ = ["FINAL", "FROM_BOARD", "HERE", "advances", "in_story", "rank", "stage_name"]

FINAL: Final = frozenset(
    {
        contract.TELECOMMAND_STAGE_COMPLETED,
        contract.TELECOMMAND_STAGE_FAILED,
        contract.TELECOMMAND_STAGE_EXPIRED,
        contract.TELECOMMAND_STAGE_WITHDRAWN,
    }
)

FROM_BOARD: Final = frozenset(
    {
        contract.TELECOMMAND_STAGE_ACCEPTED,
        contract.TELECOMMAND_STAGE_STARTED,
        contract.TELECOMMAND_STAGE_COMPLETED,
        contract.TELECOMMAND_STAGE_FAILED,
        contract.TELECOMMAND_STAGE_EXPIRED,
    }
)
"""What a satellite may report; all else is the ground's to know."""

HERE: Final = (
    contract.TELECOMMAND_STAGE_NEEDS_SIGNATURE,
    contract.TELECOMMAND_STAGE_QUEUED,
    contract.TELECOMMAND_STAGE_HELD,
)
"""What is in one of these has not left, and may go from one to the other."""

_RANKS: Final[dict[int, int]] = {
    contract.TELECOMMAND_STAGE_NEEDS_SIGNATURE: 0,
    contract.TELECOMMAND_STAGE_QUEUED: 1,
    contract.TELECOMMAND_STAGE_HELD: 2,
    contract.TELECOMMAND_STAGE_SENT: 3,
    contract.TELECOMMAND_STAGE_ACCEPTED: 4,
    contract.TELECOMMAND_STAGE_STARTED: 5,
}
_LAST: Final = 6


def stage_name(stage: int) -> str:
    """``COMPLETED`` for ``TELECOMMAND_STAGE_COMPLETED``; the number of one that this software does not know."""
    try:
        return TelecommandStage.Name(stage).removeprefix("TELECOMMAND_STAGE_")
    except ValueError:
        return str(stage)


def rank(stage: int) -> int:
    """Its place in the life of a command: reports may overtake one another on the way."""
    return _RANKS.get(stage, _LAST)


def advances(old: int, new: int) -> bool:
    """Whether a stage follows another; nothing follows the last ones."""
    return old not in FINAL and rank(new) > rank(old)


def in_story(stage: int, at_seconds: float) -> tuple[int, float]:
    """Sorts the stages of one command as they followed one another."""
    return (0 if stage in HERE else rank(stage), at_seconds)
