"""The sequences that Skyrack ships, run whole: ground, backhaul, and every service of a satellite, in virtual time."""

from __future__ import annotations

import pytest

from ground import sequencefile
from hil.twin.world import World
from skyrack import files, virtual


@pytest.mark.parametrize("name", files.shipped_names("sequences"))
def test_a_shipped_sequence_completes_on_a_satellite(name: str) -> None:
    loaded = sequencefile.load(files.find("sequences", name))
    make = World.loader(files.find("constellations", "demo"), satellites=1)

    async def main() -> None:
        async with make().running() as world:
            (satellite,) = world.designs
            await world.clock.sleep(120)
            await world.ground.sequence_desk.submit("s1", satellite, loaded.sequence, submitter="alice")
            for _ in range(100):
                await world.clock.sleep(60)
                record = await world.ground.sequence_desk.sequence("s1")
                if record.is_final:
                    break
            assert record.stage == "COMPLETED", record
            assert record.reason == ""
            assert [step.stage for step in record.steps] == ["COMPLETED"] * len(loaded.steps), record.steps
            ended = record.stages[0].mission_time_seconds
            for step in record.steps:
                assert step.started_seconds is not None
                assert step.finished_seconds is not None
                assert step.started_seconds >= ended + step.after_seconds
                ended = step.finished_seconds

    virtual.run(main)
