"""The hardware watchdog resets a board that has died: it is armed and never stroked again."""

from __future__ import annotations

from hil.acceptance.model import Finding, NotApplicableError, SkippedError
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Session


async def run(session: Session, step: Step) -> Finding:
    """Arm it, wait for the board to be gone and to come back."""
    rig = session.rig
    device = rig.board.watchdog_device
    if not device:
        raise NotApplicableError(f"board {rig.board.name} has no watchdog_device in the bench file")
    if not session.allow_reset:
        raise SkippedError("it resets the board: --allow-reset lets it")
    before = str(rig.hello["boot_id"])
    began = rig.now()
    await rig.ask("accept-reset", how="watchdog", device=device)
    session.tell(f"{device} is armed; waiting for the board to reset")
    hello = await rig.return_of(before, step.settings["limit_seconds"])
    seconds = rig.now() - began
    return Finding(
        values=(step.value("back", seconds, "s", note="from the last stroke to the agent's answer"),),
        evidence=(f"boot id {before} became {hello['boot_id']}",),
    )
