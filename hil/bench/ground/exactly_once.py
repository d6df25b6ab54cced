"""Exactly once: jobs and telemetry through a broker, a ground and gateways that are killed at random.

Jobs are submitted over HTTP, run by satellites whose gateways are the real ones, and come back with their results;
telemetry comes down beside them. In the end both sides' ledgers are compared, and the ground's own record is asked
which jobs have an accepted result, and how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx

from hil.bench.ground import Options, Say
from hil.bench.ground.station import Station
from skyrack.jobs import JobState

__all__ = ["Campaign", "measure"]

SATELLITES: Final = ("sat-1", "sat-2")
PACKAGE: Final = b"nothing that runs\n"
_SUBMITTERS: Final = 16
_SETTLE_SECONDS: Final = 180.0
_LONGEST_DEATH_SECONDS: Final = 1.5
_LONGEST_SECONDS: Final = 3600.0


class Campaign:
    """One run of it."""

    def __init__(self, station: Station, options: Options, say: Say) -> None:
        self._station = station
        self._options = options
        self._say = say
        self._rng = random.Random(f"{options.seed}/kills")
        self._http = httpx.AsyncClient(timeout=30, trust_env=False)
        self._submitted = 0
        self.kills: Counter[str] = Counter()

    async def run(self) -> dict[str, Any]:
        """Bring everything up, let it live and die, and draw up the balance."""
        began = time.monotonic()
        await self._station.up()
        up = time.monotonic()
        killing = asyncio.create_task(self._kill())
        try:
            await asyncio.gather(self._submit_all(), self._until_all_done())
        finally:
            killing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killing
        done = time.monotonic()
        verdicts = await self._verify()
        await self._http.aclose()
        for name in (*self._station.killable, *(f"far end {name}" for name in self._station.names)):
            self._station.end(name)
        return self._balance(verdicts, up - began, done - up)

    async def _submit_all(self) -> None:
        digest = hashlib.sha256(PACKAGE).hexdigest()
        await self._station.ask(self._http, "PUT", f"/v1/packages/{digest}", content=PACKAGE)
        body = {
            "name": "once",
            "command": ["true"],
            "resources": {"power_watts": 1, "cores": 1, "expected_seconds": 1},
            "package_sha256": digest,
            "package_bytes": len(PACKAGE),
        }
        numbers = iter(range(self._options.jobs))

        async def submit() -> None:
            for number in numbers:
                answer = await self._station.ask(self._http, "PUT", f"/v1/jobs/job-{number:06d}", json=body)
                if answer.status_code != httpx.codes.OK:
                    raise RuntimeError(f"job {number} was refused: {answer.text}")
                self._submitted += 1

        await asyncio.gather(*(submit() for _ in range(_SUBMITTERS)))

    async def _kill(self) -> None:
        """Kill one after the other, each for a moment; every process has its turn."""
        round_: list[str] = []
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / self._options.kill_seconds))
            if not round_:
                round_ = list(self._station.killable)
                self._rng.shuffle(round_)
            name = round_.pop()
            self._station.check()
            await self._station.until_up(name)
            self._station.kill(name)
            self.kills[name.partition(" ")[0]] += 1
            try:
                await asyncio.sleep(self._rng.uniform(0, _LONGEST_DEATH_SECONDS))
            finally:
                self._station.start(name)

    async def _until_all_done(self) -> None:
        options, end = self._options, time.monotonic() + _LONGEST_SECONDS
        told = 0.0
        while time.monotonic() < end:
            far = [self._station.progress(name) for name in self._station.names]
            batches = sum(each["batches"] for each in far)
            telling = sum(each["telling"] for each in far)
            ran = sum(len(each["runs"]) for each in far)
            open_jobs, stored = await asyncio.to_thread(self._look)
            done = self._submitted == options.jobs and not open_jobs
            if time.monotonic() - told > 5:
                told = time.monotonic()
                self._say(
                    f"submitted {self._submitted:,} of {options.jobs:,}, ran {ran:,}, open {open_jobs:,}; "
                    f"batches handed over {batches:,} of {options.batches:,}, stored {stored:,}; "
                    f"kills {sum(self.kills.values())}"
                )
            is_battered = sum(self.kills.values()) >= options.kills_at_least
            if done and batches == options.batches and not telling and is_battered:
                return
            await asyncio.sleep(1.0)
        raise RuntimeError(f"not all was done in {_LONGEST_SECONDS:g} s; kills: {dict(self.kills)}")

    def _look(self) -> tuple[int, int]:
        """(open jobs, stored items of telemetry), from the ground's own database."""
        with contextlib.closing(sqlite3.connect(f"file:{self._station.database}?mode=ro", uri=True)) as database:
            try:
                (open_jobs,) = database.execute("SELECT count(*) FROM jobs WHERE is_open = 1").fetchone()
                (stored,) = database.execute("SELECT coalesce(sum(stored), 0) FROM delivery_received").fetchone()
            except sqlite3.OperationalError:
                return 1, 0
        return int(open_jobs), int(stored)

    async def _verify(self) -> dict[str, Any]:
        """Compare the ledgers until nothing of the campaign is on the way any more."""
        end = time.monotonic() + _SETTLE_SECONDS
        verdicts: dict[str, Any] = {}
        while time.monotonic() < end:
            for name in self._station.names:
                answer = await self._station.ask(
                    self._http, "POST", f"/v1/ledger/{name}/verify", params={"wait_seconds": 20}, timeout=60
                )
                verdicts[name] = answer.json()
            if all(verdict["is_answered"] and verdict["waiting"] < 10 for verdict in verdicts.values()):
                break
            await asyncio.sleep(1.0)
        return verdicts

    def _balance(self, verdicts: dict[str, Any], up_seconds: float, seconds: float) -> dict[str, Any]:
        options = self._options
        streams = [row for verdict in verdicts.values() for row in verdict.get("streams", ())]
        problems = [f"{row['source']} {row['stream']}: {text}" for row in streams for text in row["problems"]]
        runs: Counter[str] = Counter()
        for name in self._station.names:
            runs.update(self._station.progress(name)["runs"])
        jobs = _jobs_in(self._station.database)
        skipped = sum(row["skipped"] for row in streams if row["stream"] in ("status", "bulk"))
        shed = sum(row["skipped"] for row in streams if row["stream"] == "housekeeping")
        stored = sum(
            row["stored"] for row in streams if row["stream"] == "housekeeping" and row["destination"] == "ground"
        )
        is_verified = len(verdicts) == len(self._station.names) and all(
            verdict["is_sound"] for verdict in verdicts.values()
        )
        figures: dict[str, Any] = {
            "jobs": options.jobs,
            "batches": options.batches,
            "seed": options.seed,
            "start_seconds": up_seconds,
            "seconds": seconds,
            "jobs_per_second": options.jobs / seconds,
            "batches_per_second": options.batches / seconds,
            "cpu_seconds": {name: round(spent, 1) for name, spent in sorted(self._station.cpu_seconds.items())},
            "kills": dict(sorted(self.kills.items())),
            "jobs_completed": jobs["completed"],
            "jobs_not_completed": jobs["not_completed"],
            "jobs_without_result": jobs["without_result"],
            "jobs_with_two_accepted_results": jobs["twice"],
            "attempts_run_twice": sum(count > 1 for count in runs.values()),
            "attempts": len(runs),
            "batches_stored": stored,
            "batches_given_up": shed,
            "statuses_given_up": skipped,
            "items_received_again": sum(row["duplicates"] for row in streams),
            "items_rejected": sum(row["rejected"] for row in streams),
            "items_on_the_way": sum(row["waiting"] for row in streams),
            "ledger_problems": problems,
            "ledger_verified": is_verified,
        }
        figures["lost"] = max(0, options.batches - stored) + (options.jobs - jobs["completed"])
        figures["reached"] = bool(
            is_verified
            and figures["lost"] == 0
            and shed == 0
            and jobs["twice"] == 0
            and jobs["without_result"] == 0
            and figures["attempts_run_twice"] == 0
        )
        return figures


def _jobs_in(path: Path) -> dict[str, int]:
    """What the ground's record says of the jobs of the campaign."""
    completed = int(JobState.COMPLETED)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        states = Counter(state for (state,) in database.execute("SELECT state FROM jobs"))
        accepted = Counter(
            job_id
            for (job_id,) in database.execute(
                "SELECT job_id FROM job_history WHERE state = ? AND is_applied = 1", (completed,)
            )
        )
        (results,) = database.execute("SELECT count(*) FROM results WHERE received_seconds IS NOT NULL").fetchone()
    return {
        "completed": states[completed],
        "not_completed": sum(states.values()) - states[completed],
        "without_result": states[completed] - int(results),
        "twice": sum(count > 1 for count in accepted.values()),
    }


def measure(options: Options, say: Say) -> dict[str, Any]:
    """Run the campaign in a directory of its own, which is kept when it fails."""
    directory = Path(tempfile.mkdtemp(prefix="skyrack-once-"))
    with tempfile.TemporaryDirectory(prefix="sky-") as run_dir:
        station = Station(directory, Path(run_dir), SATELLITES[: options.satellites], options.batches)
        try:
            figures = asyncio.run(Campaign(station, options, say).run())
        finally:
            station.close()
    if figures["reached"]:
        _remove(directory)
    else:
        figures["kept"] = str(directory)
    return figures


def _remove(directory: Path) -> None:
    import shutil

    shutil.rmtree(directory, ignore_errors=True)
