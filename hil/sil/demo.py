"""``skyrack run``: a constellation flies through an eclipse and runs real jobs, from the ground to a rack and back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ground.client import SkyrackClient, UnreachableError, is_settled
from hil.sil.bring_up import brought_up
from skyrack import archive, files, jobfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.sil.bring_up import Running
    from hil.sil.instance import Instance
    from hil.sil.system import SystemSettings

# The trainings are long enough to meet the eclipse; the identifications are over before it.
DEMO_JOBS = ("digits-training", "file-identification", "digits-training", "file-identification")
LOOK_SECONDS = 0.5
RESULT_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration submits, and how long it may take, in seconds of the host."""

    jobs: tuple[Path, ...]
    limit_seconds: float = 170.0

    @classmethod
    def shipped(cls, limit_seconds: float = 170.0) -> Demo:
        """The jobs that Skyrack ships.

        Raises:
            FileError: they are not there.
        """
        directory = files.shipped_directory("jobs")
        return cls(tuple(directory / name / "job.toml" for name in DEMO_JOBS), limit_seconds)


@dataclass(slots=True)
class View:
    """What there is to be seen at a moment."""

    mission_time_seconds: float
    satellites: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demonstration ended. ``problem`` is empty when every job was completed and its result came back."""

    view: View
    results: dict[str, tuple[Path, ...]]
    findings: dict[str, dict[str, Any]]
    problem: str = ""


async def demonstrate(
    instance: Instance, settings: SystemSettings, demo: Demo, show: Callable[[View], None]
) -> Outcome:
    """Bring a constellation up, submit the jobs, wait for their results, and end everything.

    Raises:
        UserError: a file does not add up.
        SupervisorError: a process did not come up.
        asyncio.CancelledError: it was interrupted; nothing is left running.
    """
    packages = [jobfile.package(path) for path in demo.jobs]
    notes: list[str] = []
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, task.cancel)  # type: ignore[union-attr]
    async with brought_up(instance, settings, lambda name, text: notes.append(f"{name} {text}")) as running:
        failing = asyncio.create_task(running.until_failed())
        deadline = loop.time() + demo.limit_seconds
        with SkyrackClient(running.ground_url) as client:

            async def until(done: Callable[[View], bool]) -> View:
                while True:
                    view = await _look(running, client, notes)
                    show(view)
                    if done(view) or failing.done() or loop.time() > deadline:
                        return view
                    await asyncio.sleep(LOOK_SECONDS)

            # Jobs that are submitted before all satellites are known would all go to the first.
            await until(lambda view: bool(view.satellites) and all(map(_is_nominal, view.satellites)))
            for number, (path, (spec, package)) in enumerate(zip(demo.jobs, packages, strict=True), start=1):
                await asyncio.to_thread(client.submit, spec, package, f"{path.parent.name}-{number}")
            view = await until(lambda view: len(view.jobs) == len(packages) and all(map(is_settled, view.jobs)))
            if failing.done():
                return Outcome(view, {}, {}, failing.result())
            failing.cancel()
            outcome = await asyncio.to_thread(_collect, instance, client, view)
        waiting = ", ".join(f"{job['job_id']} is {job['state']}" for job in view.jobs if not is_settled(job))
        if waiting:
            return replace(outcome, problem=f"not over after {demo.limit_seconds:g} s: {waiting}")
        return outcome


async def _look(running: Running, client: SkyrackClient, notes: list[str]) -> View:
    view = View(running.clock.now(), notes=list(notes))
    # The ground may be on its way back from a restart.
    with contextlib.suppress(UnreachableError):
        view.jobs = await asyncio.to_thread(client.jobs)
        view.satellites = await asyncio.to_thread(client.satellites)
    return view


def _is_nominal(satellite: dict[str, Any]) -> bool:
    return bool(satellite["mode"] == "nominal")


def _collect(instance: Instance, client: SkyrackClient, view: View) -> Outcome:
    results: dict[str, tuple[Path, ...]] = {}
    findings: dict[str, dict[str, Any]] = {}
    problems = []
    for job in view.jobs:
        name = job["job_id"]
        if not is_settled(job) or job["state"] != "COMPLETED" or job["result_problem"]:
            problems.append(f"{name} {job['state']}: {job['result_problem'] or job['reason']}")
            continue
        directory = instance.directory / "results" / name
        names = archive.unpack(client.result(name), directory, RESULT_LIMIT_BYTES)
        results[name] = tuple(directory / file for file in names)
        findings[name] = _findings(results[name])
    return Outcome(view, results, findings, "; ".join(problems))


def _findings(paths: tuple[Path, ...]) -> dict[str, Any]:
    """What a job says of itself: its JSON file, without long lists."""
    for path in paths:
        if path.suffix == ".json":
            found = json.loads(path.read_text())
            return {key: value for key, value in found.items() if not isinstance(value, list | dict)}
    return {}
