"""Databases that are locked, full, or gone for a while: said in a sentence, nothing accepted is lost, all goes on."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from ground.database import StorageError
from skyrack import virtual

PACKAGE = b"a package" * 2000
SHA256 = hashlib.sha256(PACKAGE).hexdigest()


def put_job(station: Any, url: str, job_id: str) -> httpx.Response:
    job = {
        "name": "digits",
        "command": ["python3", "train.py"],
        "resources": {"power_watts": 200, "expected_seconds": 60},
        "package_sha256": SHA256,
        "package_bytes": len(PACKAGE),
    }
    with station.http(url) as http:
        sent: httpx.Response = http.put(f"/v1/packages/{SHA256}", content=PACKAGE)
        if not sent.is_success:
            return sent
        response: httpx.Response = http.put(f"/v1/jobs/{job_id}", json=job)
        return response


def assert_unavailable(response: httpx.Response, sentence: str) -> None:
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert sentence in response.json()["detail"]


def test_a_server_that_is_killed_under_a_running_ground_costs_nothing_accepted(station: Any, postgresql: Any) -> None:
    with station.config.open("a") as file:
        file.write(f'\ndatabase = "{postgresql.new_database()}"\n')
    station.start_broker()
    url = station.start_ground()
    station.start_satellites()
    accepted: set[str] = set()
    refused: list[httpx.Response] = []
    stop = threading.Event()

    def submit() -> None:
        number = 0
        while not stop.is_set():
            response = put_job(station, url, f"job-{number}")
            if response.is_success:
                accepted.add(f"job-{number}")
                number += 1
            else:
                refused.append(response)
            stop.wait(0.05)

    submitter = threading.Thread(target=submit)
    submitter.start()
    try:
        station.eventually(lambda: len(accepted) >= 4 or refused, "jobs are accepted")
        assert not refused, refused[0].text
        postgresql.kill()
        station.eventually(lambda: len(refused) >= 3, "jobs are refused")
        postgresql.start()
        before = len(accepted)
        station.eventually(lambda: len(accepted) >= before + 4, "jobs are accepted again")
    finally:
        stop.set()
        submitter.join()
        if not postgresql.is_running:
            postgresql.start()
    for response in refused:
        assert_unavailable(response, "by itself")

    def all_done() -> bool:
        records = station.get(url, "/v1/jobs", limit=1000)
        done = {record["job_id"] for record in records if record["state"] == "COMPLETED"}
        return accepted <= done

    station.eventually(all_done, "all accepted jobs ran")
    assert station.kill("ground", 15) == 0


def test_a_database_that_another_process_holds_is_waited_for(station: Any) -> None:
    station.start_broker()
    url = station.start_ground()
    assert put_job(station, url, "one").is_success
    other = sqlite3.connect(station.home / "ground" / "ground.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert_unavailable(put_job(station, url, "two"), "another process holds the database")
    other.execute("ROLLBACK")
    other.close()
    assert put_job(station, url, "two").is_success
    assert {record["job_id"] for record in station.get(url, "/v1/jobs")} == {"one", "two"}


def test_a_second_ground_is_refused_in_a_sentence(station: Any, target: Path | str) -> None:
    if isinstance(target, str):
        with station.config.open("a") as file:
            file.write(f'\ndatabase = "{target}"\n')
    station.start_broker()
    url = station.start_ground()
    done = subprocess.run(
        [sys.executable, "-m", "ground", "--config", str(station.config)],
        cwd=station.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "another ground runs on this database; stop it first" in done.stderr
    assert put_job(station, url, "one").is_success


@pytest.mark.parametrize("is_up", [True, False], ids=["in contact", "out of contact"])
def test_a_full_disk_refuses_and_recovers(kit: Any, tmp_path: Path, is_up: bool) -> None:
    async def scenario() -> None:
        async with kit.fly(database=tmp_path / "ground.db", is_up=is_up) as world:
            await world.ground.submit(kit.spec_of(), job_id="one")
            raw = world.ground.database._writer.get().raw
            (pages,) = raw.execute("PRAGMA page_count").fetchone()
            raw.execute(f"PRAGMA max_page_count = {pages}")

            async def fill() -> None:
                for number in range(1000):
                    await world.ground.submit(kit.spec_of(), job_id=f"more-{number}")

            with pytest.raises(StorageError, match=r"the disk is full .*; free some space; nothing was lost"):
                await fill()
            kept = {record.job_id for record in await world.ground.jobs(2000)}
            await asyncio.sleep(600)
            raw.execute("PRAGMA max_page_count = 1000000")
            world.is_up = True
            assert {record.job_id for record in await world.ground.jobs(2000)} == kept
            await world.ground.submit(kit.spec_of(), job_id="last")
            for job_id in (*kept, "last"):
                record = await world.settled(job_id, 200_000)
                assert record.state == "COMPLETED"

    virtual.run(scenario)
