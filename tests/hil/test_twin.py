"""The twin: equal seeds give equal runs, bit by bit, and no job is lost or counted twice on the worst of links."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flight.gateway.service import Gateway
from ground.records import JobRecord
from hil.twin.workload import Workload, arrivals
from hil.twin.world import TwinSettings, World
from skyrack import files, logging, virtual
from skyrack.backhaul.memory import Impairments
from skyrack.delivery import reconcile
from skyrack.jobs import REACHABLE, JobState

SKYRACK = (sys.executable, "-c", "from skyrack.cli import main; main()")
DEMO = files.find("constellations", "demo")
FLIGHT = ("twin", "--hours", "0.1", "--satellites", "1", "--jobs-per-hour", "60", "--loss", "0.05", "--json")


def skyrack(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [*SKYRACK, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def fly(*arguments: str, hash_seed: str = "0") -> dict[str, Any]:
    done = skyrack(*FLIGHT, *arguments, hash_seed=hash_seed)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Two runs of one seed, each in a process with another hash seed, and one of another seed."""
    directory = tmp_path_factory.mktemp("twin")
    runs = {"one": ("7", "1"), "same": ("7", "2"), "other": ("8", "1")}
    found = {}
    for name, (seed, hash_seed) in runs.items():
        path = directory / f"{name}.rec"
        found[name] = (path, fly("--seed", seed, "--record", str(path), hash_seed=hash_seed))
    return found


def test_equal_seeds_give_equal_runs_whatever_the_hash_seed(recordings: Any) -> None:
    (one_path, one), (same_path, same) = recordings["one"], recordings["same"]
    assert one["digest"] == same["digest"]
    assert one["messages"] == same["messages"]
    assert (one["jobs"], one["satellites"]) == (same["jobs"], same["satellites"])
    compared = skyrack("diff", str(one_path), str(same_path))
    assert compared.returncode == 0, compared.stdout
    assert compared.stdout.startswith("equal: ")


def test_another_seed_gives_another_run(recordings: Any) -> None:
    (one_path, one), (other_path, other) = recordings["one"], recordings["other"]
    assert one["digest"] != other["digest"]
    compared = skyrack("diff", str(one_path), str(other_path))
    assert compared.returncode == 1
    assert "the first that differs" in compared.stdout


def test_a_recorded_run_replays_into_one_service(recordings: Any) -> None:
    path, _ = recordings["one"]
    first, second = (skyrack("replay", str(path), "--service", "thermal", "--json", hash_seed=seed) for seed in "12")
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    said = [json.loads(line) for line in first.stdout.splitlines()]
    assert {message["source"] for message in said} == {"thermal"}
    assert len([message for message in said if message["message"] == "ThermalStatus"]) > 300
    assert not [message for message in said if message["fields"].get("name") == "handler_failed"]


@pytest.mark.parametrize(
    "impairments",
    [
        Impairments(loss=0.2),
        Impairments(duplication=0.3, reordering=0.3),
        Impairments(loss=0.1, duplication=0.1, reordering=0.2, reordering_seconds=20.0),
    ],
    ids=["loss", "doubled-and-overtaken", "all"],
)
def test_no_job_is_lost_or_counted_twice_on_bad_links(impairments: Impairments, monkeypatch: Any) -> None:
    logging.silence()
    gateways: dict[str, Gateway] = {}
    start = Gateway.on_start

    async def remembered(gateway: Gateway) -> None:
        gateways[gateway.context.satellite] = gateway
        await start(gateway)

    monkeypatch.setattr(Gateway, "on_start", remembered)
    load = World.loader(DEMO, TwinSettings(seed=11, impairments=impairments))
    workload = Workload(jobs_per_hour=60.0, expected_seconds=(20.0, 60.0), deadline_slack=(4.0, 20.0))

    async def flown() -> None:
        world = load()
        begin = world.clock.now()
        accepted = []
        async with world.running():
            for arrival in arrivals(workload, random.Random(11), begin, begin + 600.0, 700.0):
                await world.clock.sleep_until(arrival.time_seconds)
                accepted.append((await world.ground.submit(arrival.spec, arrival.package)).job_id)
            await world.clock.sleep_until(begin + 1000.0)
            records = [await world.ground.job(job_id) for job_id in accepted]
            sent, received = await world.ground.ledgers()
            for satellite, gateway in gateways.items():
                theirs_sent, theirs_received = await gateway._endpoint.ledgers()
                assert reconcile([row for row in sent if row.destination == satellite], theirs_received) == []
                # What the ground has taken in since its ledgers were read is none of this comparison.
                _, ours = await world.ground.ledgers()
                assert reconcile(theirs_sent, ours) == []
            assert world.ground.counters.refused["illegal"] == 0
            assert received
            counters = world.hub.counters
            assert (counters.lost > 0) == (impairments.loss > 0)
            assert (counters.duplicated > 0) == (impairments.duplication > 0)
        assert set(gateways) == set(world.designs)
        assert len(records) > 5
        for record in records:
            _assert_legal(record)
        assert sum(record.state == "COMPLETED" for record in records) > len(records) / 2

    virtual.run(flown)


def _assert_legal(record: JobRecord) -> None:
    """Final once, or open; each accepted step follows from the one before."""
    applied = [step for step in record.history if step.is_applied]
    completed = [step for step in applied if step.state == "COMPLETED"]
    assert len(completed) == (record.state == "COMPLETED"), record.history
    assert record.is_final == JobState[record.state].final
    for before, after in itertools.pairwise(applied):
        if before.attempt == after.attempt:
            assert JobState[after.state] in REACHABLE[JobState[before.state]], record.history
        else:
            assert after.attempt > before.attempt
            assert before.state not in ("COMPLETED", "CANCELLED")
    if record.state == "COMPLETED":
        assert record.result_sha256


def test_a_world_ends_with_what_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in a part of it must not leave a run that looks well."""
    logging.silence()
    load = World.loader(DEMO, TwinSettings(seed=1), satellites=1)

    async def flown() -> None:
        world = load()

        def fail(step_seconds: float = 1.0) -> None:
            raise ArithmeticError("the physics are wrong")

        monkeypatch.setattr(world.plant, "step", fail)
        async with world.running():
            await world.clock.sleep(60.0)

    with pytest.raises((ArithmeticError, asyncio.CancelledError)) as ended:
        virtual.run(flown)
    assert "the physics are wrong" in str(ended.value)
