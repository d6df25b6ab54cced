"""A bench that flies, as the steps of acceptance ask it: through the ground's interface, and the board's agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ground.client import SkyrackClient, UnreachableError, is_settled
from ground.client.calls import Call, part
from hil.acceptance.model import StepError
from hil.boards.bench_run import BenchRun, BenchSettings, flying
from hil.boards.session import BoardSession
from hil.sil.instance import Instance
from hil.supervisor import SupervisorError
from skyrack import archive, jobfile

JOB_STEPS = 100_000_000
"""Multiplications of the job: ten seconds on a laptop, a minute on a small board: some of it after the power cut."""
MULTIPLIER, MODULUS = 48271, 2**31 - 1  # Park, Miller and Stockmeyer, CACM 36(7), 1993
_ANSWER_SECONDS = 20.0
_RESULT_BYTES = 1 << 20

_JOB = """name = "acceptance"
description = "A chain of multiplications whose end whoever asked can check at once"
command = ["python3", "chain.py", "{start}", "{steps}"]
priority = 90
checkpoint = true
grace = "5 s"
retries = 3

[resources]
power_watts = {watts:g}
cores = 1
memory = "64 MiB"
disk = "1 MiB"
expected = "{expected}"
limit = "{limit}"
"""
_PROGRAM = """import json, os, sys
from pathlib import Path

start, steps, done = int(sys.argv[1]), int(sys.argv[2]), 0
kept = Path(os.environ.get("SKYRACK_CHECKPOINT_DIR", ".")) / "chain.json"
value = start
if kept.exists():
    value, done = json.loads(kept.read_text())
while done < steps:
    part = min(1_000_000, steps - done)
    for _ in range(part):
        value = value * 48271 % 2147483647
    done += part
    new = kept.with_suffix(".new")
    new.write_text(json.dumps([value, done]))
    new.replace(kept)
output = Path(os.environ.get("SKYRACK_OUTPUT_DIR", "."))
(output / "chain.json").write_text(json.dumps({"start": start, "steps": steps, "end": value}))
"""


def chain_end(start: int, steps: int) -> int:
    """What the job must come to, without its work."""
    return start * pow(MULTIPLIER, steps, MODULUS) % MODULUS


Kill = Callable[[str, str], Awaitable[int]]
"""SIGKILL for a service of the flight whose files are in a directory of the board; its process id."""
Cut = Callable[[str], Awaitable[str]]
"""Takes the power away from the board, or what comes nearest to it; what was done, in words."""


def _after(command_id: str, revision: int, client: SkyrackClient) -> dict[str, Any]:
    return client.telecommand(command_id, revision, 5.0)


class BenchFlight:
    """Satisfies :class:`hil.acceptance.rig.Flight`."""

    def __init__(self, run: BenchRun, session: BoardSession, kill: Kill, cut: Cut) -> None:
        self._run = run
        self._session = session
        self._satellite = session.board.satellite
        self._starts: dict[str, int] = {}
        self._kill = kill
        self._cut = cut

    async def _ask(self, what: Callable[[SkyrackClient], Any]) -> Any:
        def ask() -> Any:
            with SkyrackClient(self._run.running.ground_url) as client:
                return what(client)

        return await asyncio.to_thread(ask)

    async def mode(self) -> str:
        with contextlib.suppress(UnreachableError):
            for satellite in await self._ask(lambda client: client.satellites()):
                if satellite["name"] == self._satellite and self._session.view.link == "up":
                    return str(satellite["mode"]).lower()
        return ""

    async def submit(self) -> str:
        job_id = f"acceptance-{secrets.token_hex(4)}"
        self._starts[job_id] = 1 + secrets.randbelow(MODULUS - 1)
        design = self._run.derived.designs[self._satellite]
        node = design.nodes[0]
        rate = self._run.running.clock.rate
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "job.toml"
            (Path(directory) / "chain.py").write_text(_PROGRAM)
            path.write_text(
                _JOB.format(
                    start=self._starts[job_id],
                    steps=JOB_STEPS,
                    watts=node.idle_watts + 0.5 * (node.peak_watts - node.idle_watts),
                    expected=f"{max(60.0, 20 * rate):.0f} s",
                    limit=f"{max(3600.0, 600 * rate):.0f} s",
                )
            )
            spec, package = jobfile.package(path)
        await self._ask(lambda client: client.submit(spec, package, job_id))
        return job_id

    async def job(self, job_id: str) -> Mapping[str, Any]:
        for _ in range(40):
            with contextlib.suppress(UnreachableError):
                record: dict[str, Any] = await self._ask(lambda client: client.job(job_id))
                return {**record, "settled": is_settled(record)}
            await asyncio.sleep(0.5)
        raise StepError("the ground does not answer")

    async def result_problem(self, job_id: str) -> str:
        record = await self.job(job_id)
        if record["result_problem"]:
            return f"{job_id}: {record['result_problem']}"
        content: bytes = await self._ask(lambda client: client.result(job_id))
        with tempfile.TemporaryDirectory() as directory:
            names = archive.unpack(content, Path(directory), _RESULT_BYTES)
            if "chain.json" not in names:
                return f"{job_id}: chain.json is not among its results"
            found = json.loads((Path(directory) / "chain.json").read_text())
        wanted = chain_end(self._starts[job_id], JOB_STEPS)
        if found.get("end") != wanted:
            return f"{job_id}: it came to {found.get('end')}, and {wanted} is right: this board miscounts"
        return ""

    async def command(self) -> float:
        command_id, began = f"acceptance-{secrets.token_hex(4)}", time.monotonic()
        submission = {"satellite": self._satellite, "method": "GetLedger", "service": "", "arguments": {}}
        record = await self._ask(lambda client: client.send(command_id, {**submission, "lifetime_seconds": 0}))
        deadline = began + 60.0
        while not record["is_final"]:
            if time.monotonic() > deadline:
                raise StepError(f"a command is still {record['stage']} after 60 s")
            revision = int(record["revision"])
            record = await self._ask(partial(_after, command_id, revision))
        if record["stage"] != "COMPLETED":
            raise StepError(f"a command ended as {record['stage']}: {record['response'] or 'no reason was given'}")
        return time.monotonic() - began

    async def ledger(self) -> Mapping[str, int]:
        call = Call("POST", f"/v1/ledger/{part(self._satellite)}/verify", {"wait_seconds": _ANSWER_SECONDS})
        for _ in range(4):
            verdict = await self._ask(lambda client: client.ask(call))
            if verdict["is_answered"]:
                streams = verdict["streams"]
                return {
                    "stored": sum(stream["stored"] for stream in streams),
                    "duplicated": sum(stream["duplicates"] for stream in streams),
                    "lost": sum(len(stream["problems"]) for stream in streams),
                }
        raise StepError(f"{self._satellite} does not tell its ledger: {verdict['reason']}")

    async def services(self) -> Mapping[str, int]:
        return self._session.view.services

    async def kill(self, service: str) -> int:
        return await self._kill(self._session.place.directory, service)

    async def cut_power(self) -> str:
        before = dict(self._session.view.services)
        told = await self._cut(self._session.place.directory)
        deadline = time.monotonic() + 30.0
        # Until it is seen to be gone, nothing says that it is back.
        while self._session.view.link == "up" and self._session.view.services == before:
            if time.monotonic() > deadline:
                raise StepError(f"{told}, and the board's services did not notice")
            await asyncio.sleep(0.1)
        while self._session.view.link != "up" or not self._session.view.services:
            if time.monotonic() > deadline + 300.0:
                raise StepError(f"{told}, and the board did not come back: {self._session.view.problem}")
            await asyncio.sleep(0.2)
        return told


@contextlib.asynccontextmanager
async def fly_bench(
    bench: Path, board: str, name: str, kill: Kill, cut: Cut, tell: Callable[[str], None]
) -> AsyncIterator[BenchFlight]:
    """Fly a bench for acceptance.

    Raises:
        UserError: a file does not add up, or a board cannot be reached.
        StepError: something did not come up.
    """
    try:
        async with flying(Instance.named(name), BenchSettings(bench), lambda who, text: tell(f"{who} {text}")) as run:
            session = next(each for each in run.sessions if each.board.name == board)
            yield BenchFlight(run, session, kill, cut)
    except SupervisorError as error:
        raise StepError(str(error)) from None
