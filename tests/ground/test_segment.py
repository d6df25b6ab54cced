from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ground.errors import ConflictError, UnknownError
from skyrack import virtual
from skyrack.backhaul.memory import Impairments
from skyrack.errors import UserError
from skyrack.v1 import job_pb2, options_pb2, power_pb2


def test_a_job_goes_up_runs_and_comes_back(kit: Any) -> None:
    async def scenario() -> None:
        async with kit.fly() as world:
            package = b"p" * 70_000
            submitted = await world.ground.submit(kit.spec_of(), package, job_id="one", submitter="ada")
            assert submitted.state == "SUBMITTED"
            record = await world.settled("one")
            assert record.state == "COMPLETED"
            assert record.energy_joules == 1234.0
            satellite = world.satellites[record.satellite]
            assert b"".join(data for _, data in sorted(satellite.packages["one"].items())) == package
            assert await world.ground.result("one") == satellite.result
            assert [step.state for step in (await world.ground.job("one")).history] == [
                "SUBMITTED",
                "PLACED",
                "ACCEPTED",
                "RUNNING",
                "COMPLETED",
            ]
            assert satellite.placements[0].spec.package_sha256 == hashlib.sha256(package).digest()

    virtual.run(scenario)
