"""SIGKILL to every process of a run while jobs come and go: all comes back, no job is lost, none has two results."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ground.client import UnreachableError
from skyrack import jobfile

SATELLITES = ("sat-1", "sat-2")


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any]) -> Any:
    bench = make_bench()
    # Half the rate of a demonstration, so that a busy machine holds it, too.
    bench.up("--rate", "30")
    return bench


@pytest.fixture(scope="module")
def patient(bench: Any, kit: Any) -> Iterator[list[dict[str, Any]]]:
    """Jobs that run through all kills, one on each satellite; at the end each must complete, once."""
    path = bench.write_job("patient", kit.PATIENT, checkpoint=True)
    # Two satellites, equally free: the second job goes where the first is not.
    records = []
    for number in (1, 2):
        bench.submit(path, f"patient-{number}")
        records.append(bench.until_running(f"patient-{number}"))
    yield records
    for record in records:
        bench.let_go(bench.until_running(record["job_id"]))
    for record in records:
        bench.assert_ran_once(bench.until_settled(record["job_id"]))


def submit_quick(bench: Any, kit: Any, job_id: str) -> None:
    bench.submit(bench.write_job("quick", kit.PATIENT, "--at-once", checkpoint=True), job_id)


@pytest.mark.parametrize("service", ["navigation", "power", "thermal", "compute", "laser", "gateway", "executive"])
def test_a_killed_service_comes_back_and_costs_no_job(bench: Any, kit: Any, patient: Any, service: str) -> None:
    before = {name: bench.incarnation(name, service) for name in SATELLITES}
    pids = {name: bench.service_pid(name, service) for name in SATELLITES}
    submit_quick(bench, kit, f"quick-{service}")
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for name in SATELLITES:
        bench.until_reborn(name, service, before[name])
    bench.until_well(list(SATELLITES))
    bench.assert_ran_once(bench.until_settled(f"quick-{service}"))
    for record in patient:
        now = bench.until_running(record["job_id"])
        assert (now["attempt"], now["satellite"]) == (1, record["satellite"])


@pytest.mark.parametrize("process", ["ground", "broker", "plant", "sat-1"])
def test_a_killed_process_comes_back_and_costs_no_job(bench: Any, kit: Any, patient: Any, process: str) -> None:
    submit_quick(bench, kit, f"quick-{process}")
    bench.kill_process(process)
    bench.until_well(list(SATELLITES))
    bench.assert_ran_once(bench.until_settled(f"quick-{process}"))
    for record in patient:
        assert bench.until_running(record["job_id"])["attempt"] == 1


def test_what_the_ground_answered_outlives_it(bench: Any, kit: Any, patient: Any) -> None:
    spec, package = jobfile.package(bench.write_job("many", kit.PATIENT, "--at-once"))
    answered: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        number = 0
        while not stop.is_set():
            job_id = f"many-{number}"
            try:
                with bench.client() as client:
                    client.submit(spec, package, job_id)
            except UnreachableError:
                continue  # the same id again, as a person does
            answered.append(job_id)
            number += 1

    submitter = threading.Thread(target=submit)
    submitter.start()
    try:
        kit.eventually(lambda: len(answered) >= 3, "jobs are answered")
        bench.kill_process("ground")
        before = len(answered)
        kit.eventually(lambda: len(answered) >= before + 1, "jobs are answered again")
    finally:
        stop.set()
        submitter.join()
    known = {job["job_id"] for job in bench.ask(lambda client: client.jobs(1000))}
    assert set(answered) <= known
    for job_id in answered:
        bench.assert_ran_once(bench.until_settled(job_id, 90.0))


def test_kills_at_every_step_of_a_job(bench: Any, kit: Any, patient: Any) -> None:
    """Whenever the ground hears of a step, somebody dies: each job's life is cut at another place."""
    victims = ["compute", "gateway", "ground", "gateway", "compute", "broker"]
    seen: set[tuple[Any, ...]] = set()
    for number in range(4):
        submit_quick(bench, kit, f"step-{number}")

    def kill_at_a_step() -> bool:
        for number in range(4):
            record = bench.job(f"step-{number}")
            for step in record["history"]:
                key = (number, step["attempt"], step["version"], step["state"])
                if key not in seen:
                    seen.add(key)
                    strike(record["satellite"])
                    return not victims
        return not victims

    def strike(satellite: str) -> None:
        victim = victims.pop(0)
        if victim in kit.SERVICES:
            pid = bench.service_pid(satellite or SATELLITES[0], victim)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        else:
            bench.kill_process(victim)

    kit.eventually(kill_at_a_step, "all victims were struck")
    for number in range(4):
        bench.assert_ran_once(bench.until_settled(f"step-{number}", 90.0))
    bench.until_well(list(SATELLITES))
