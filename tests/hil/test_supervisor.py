"""The supervisor with real processes: stages, restarts, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from hil.processes import belonging_to, kill_all
from hil.supervisor import Program, Supervisor, SupervisorError

_SLEEP = "import time; time.sleep(600)"


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


def program(tmp_path: Path, name: str, code: str, **settings: object) -> Program:
    return Program(name, [sys.executable, "-c", code], tmp_path / f"{name}.log", **settings)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what it waits for is in other processes
            await asyncio.sleep(0.02)


@in_a_loop
async def test_starts_by_stage_and_leaves_nothing(tmp_path: Path) -> None:
    flag = tmp_path / "first"
    first = program(tmp_path, "a", f"open({str(flag)!r}, 'w'); {_SLEEP}", ready=flag.exists)
    second = program(tmp_path, "b", f"import os; assert os.path.exists({str(flag)!r}); {_SLEEP}", stage=1)
    async with Supervisor([second, first], status_file=tmp_path / "status.json") as supervisor:
        pids = [supervisor.pid("a"), supervisor.pid("b")]
        assert all(pid is not None and alive(pid) for pid in pids)
        status = json.loads((tmp_path / "status.json").read_text())
        assert [entry["state"] for entry in status["processes"]] == ["running", "running"]
    assert not any(alive(pid) for pid in pids if pid)
    assert belonging_to(supervisor.run_id) == []


@in_a_loop
async def test_restarts_what_is_killed(tmp_path: Path) -> None:
    told: list[str] = []
    async with Supervisor(
        [program(tmp_path, "a", _SLEEP)], on_event=lambda name, text: told.append(f"{name} {text}")
    ) as supervisor:
        first = supervisor.pid("a")
        supervisor.kill("a")
        await until(lambda: supervisor.pid("a") not in (None, first))
        assert told == ["a was killed by SIGKILL"]
        assert supervisor.status()["processes"][0]["restarts"] == 1


@in_a_loop
async def test_one_that_never_gets_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    stuck = program(
        tmp_path, "stuck", f"print('no such plant', flush=True); {_SLEEP}", ready=lambda: False, ready_seconds=1
    )
    supervisor = Supervisor([program(tmp_path, "other", _SLEEP), stuck])
    with pytest.raises(
        SupervisorError, match=r"stuck was not ready within 1 s \(no such plant\); its log is .*stuck.log"
    ):
        async with supervisor:
            pass
    assert belonging_to(supervisor.run_id) == []


@in_a_loop
async def test_stubborn_and_escaped_processes_end_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "escaped"
    # Ignores SIGTERM, and its child leaves session, group, parent and environment behind.
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
script = '''
import os, time
path = {str(pid_file)!r}
open(path + ".tmp", "w").write(str(os.getpid()))
os.rename(path + ".tmp", path)
time.sleep(600)
'''
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", script], {{}})
    os._exit(0)
os.wait()
time.sleep(600)
"""
    loop = asyncio.get_running_loop()
    async with Supervisor([program(tmp_path, "a", code, ready=pid_file.exists)]) as supervisor:
        escaped = int(pid_file.read_text())
        assert alive(escaped)
        begin = loop.time()
    assert loop.time() - begin < 5
    assert not alive(escaped)
    assert supervisor.pid("a") is None


@in_a_loop
async def test_interrupted_in_the_middle_of_its_start(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [program(tmp_path, "a", _SLEEP), program(tmp_path, "b", _SLEEP, stage=1, ready=lambda: False)]
    )

    async def up() -> None:
        async with supervisor:
            await asyncio.sleep(600)

    task = asyncio.create_task(up())
    await until(lambda: supervisor.pid("b") is not None)
    pids = [supervisor.pid("a"), supervisor.pid("b")]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(alive(pid) for pid in pids if pid)


@in_a_loop
async def test_programs_die_with_their_supervisor(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib, sys
from hil.supervisor import Program, Supervisor
async def main():
    tmp = pathlib.Path({str(tmp_path)!r})
    program = Program("a", [sys.executable, "-c", {_SLEEP!r}], tmp / "a.log")
    async with Supervisor([program], run_id="{os.getpid()}-test") as supervisor:
        (tmp / "pid.tmp").write_text(str(supervisor.pid("a")))
        (tmp / "pid.tmp").rename(tmp / "pid")
        await asyncio.sleep(600)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await until((tmp_path / "pid").exists)
    child = int((tmp_path / "pid").read_text())
    assert [entry.pid for entry in belonging_to(f"{os.getpid()}-test")] == [child]
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: not alive(child))
    assert kill_all(f"{os.getpid()}-test") == 0
