"""Keeps the plant in step with mission time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.plant.plant import Plant
    from skyrack.clock import Clock

STEPS_AT_A_TIME = 50  # when late: then others get a turn


async def run_plant(
    plant: Plant,
    clock: Clock,
    step_seconds: float = 1.0,
    *,
    before_step: Callable[[], None] | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Step the plant as mission time passes, forever; a late plant catches up with several steps.

    Args:
        plant: stands at the mission time at which it begins.
        clock: mission time.
        step_seconds: length of a step, mission seconds.
        before_step: called before each step, or before each group of steps when late.
        after_step: called after them.
    """
    while True:
        await clock.sleep_until(plant.time + step_seconds)
        if before_step is not None:
            before_step()
        due = int((clock.now() - plant.time) / step_seconds + 1e-6)
        for _ in range(min(max(1, due), STEPS_AT_A_TIME)):
            plant.step(step_seconds)
        if after_step is not None:
            after_step()
        if due > STEPS_AT_A_TIME:
            await asyncio.sleep(0)
