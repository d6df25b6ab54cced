"""Contact by laser is lost, the antenna has room for a part only, contact comes back: what is missing is filled."""

from __future__ import annotations

from typing import Any

from hil.faults import LinkOutage
from hil.twin.world import TwinSettings, World
from skyrack import logging, virtual
from skyrack.files import shipped
from skyrack.satellite import load_constellation

FIELD = "skyrack.v1.PowerStatus"


def test_what_was_thinned_on_the_antenna_is_filled_when_the_laser_is_back() -> None:
    logging.silence()
    name = load_constellation(shipped("constellations", "demo"))[0].satellites[0].name
    faults = (LinkOutage(satellite=name, link="optical", at_seconds=600.0, duration_seconds=600.0),)
    world_of = World.loader(shipped("constellations", "demo"), TwinSettings(faults=faults), 1)

    async def scenario() -> tuple[Any, ...]:
        world = world_of()
        start = world.clock.now()
        service = world.ground.telemetry_service
        async with world.running():
            await world.clock.sleep(1190)
            before = service.gaps(name)
            await world.clock.sleep(2410)
            samples = await world.ground.history(name, FIELD, start + 620, start + 1180)
            return before, service.gaps(name), samples, await world.ground.telecommands()

    before, after, samples, commands = virtual.run(scenario)
    assert sum(gap.missing for gap in before) > 100
    assert {command.method for command in commands} == {"Backfill"}
    by_type = {gap.message_type: gap for gap in after if gap.source == "power"}
    assert by_type[FIELD].missing == 0
    assert by_type[FIELD].filled > 400
    sequences = [sample.sequence for sample in samples]
    assert sequences == list(range(sequences[0], sequences[0] + len(samples))), "each once, none missing"
    assert len(samples) >= 555
