"""An agent as its clients meet it: a subprocess that answers, and a keeper that outlives it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flight.compute.shim import tree
from flight.hal import DeviceError
from hil.boards import kept
from hil.boards.address import SshAddress
from hil.boards.agent import Agent
from hil.boards.client import AgentClient, AgentError, BoardLostError, Place, connected
from hil.boards.keeper import held
from hil.boards.ssh import meaning_of, ssh_command

# A stand-in for flight software: says that it is ready, and stays.
FLIGHT = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


def place(tmp_path: Path) -> Place:
    return Place("here", directory=str(tmp_path / "board"))


def programs(tmp_path: Path, code: str = FLIGHT) -> list[dict[str, Any]]:
    ready = str(tmp_path / "ready")
    return [
        {
            "name": "flight",
            "argv": [sys.executable, "-c", code, ready],
            "log": str(tmp_path / "board/logs/flight.out"),
            "ready": ready,
        }
    ]


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + 15.0
    while not await condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.05)


def test_an_agent_tells_what_it_is_and_keeps_files(tmp_path: Path) -> None:
    async def main() -> None:
        async with connected(place(tmp_path)) as agent:
            assert agent.hello["boot_id"] == tree.boot_id()
            assert agent.hello["cores"] == os.cpu_count()
            trip, boot_id = await agent.round_trip()
            assert boot_id == tree.boot_id()
            # One clock: the truth is an offset of nothing.
            assert abs(trip.offset) <= trip.error
            await agent.put({"keys/sat-1.key": b"\0secret", "board.toml": b"x"})
            assert await agent.get("keys/sat-1.key") == b"\0secret"
            assert (tmp_path / "board/keys/sat-1.key").stat().st_mode & 0o777 == 0o600
            assert await agent.get("nothing") is None
            with pytest.raises(AgentError, match="must be a path below"):
                await agent.put({"../elsewhere": b""})
            with pytest.raises(AgentError, match='no request "fly"; there are'):
                await agent.ask("fly")
            with pytest.raises(AgentError, match="needs service, a text"):
                await agent.ask("kill", service=7)
            wanted = {"plant": 2, "metrics": 1}
            ports = dict(await agent.ask("ports", wanted=wanted))
            assert ports["plant"] + 1 != ports["metrics"]
        async with connected(place(tmp_path)) as again:
            # Whoever was told of these ports finds them where they were.
            assert {key: (await again.ask("ports", wanted=wanted))[key] for key in wanted} == {
                key: ports[key] for key in wanted
            }

    asyncio.run(main())


def test_what_was_started_outlives_its_agent_and_is_found_by_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with connected(place(tmp_path)) as agent:
            assert not (await agent.ask("status"))["kept"]
            started = await agent.ask("start", run_id="run", programs=programs(tmp_path))
            assert started["started"]
        async with connected(place(tmp_path)) as agent:

            async def running() -> bool:
                return bool((await agent.ask("status"))["services"].get("executive"))

            await until(running, "flight runs")
            same = await agent.ask("start", run_id="run", programs=programs(tmp_path))
            assert (same["started"], same["pid"]) == (False, started["pid"])
            before = (await agent.ask("kill", service="executive"))["pid"]

            async def restarted() -> bool:
                return (await agent.ask("status"))["services"].get("executive") not in (None, before)

            await until(restarted, "a killed executive is started again")
            with pytest.raises(AgentError, match='no service "power" runs on this board; there are: executive'):
                await agent.ask("kill", service="power")
            # Another run takes the place of the one before.
            other = await agent.ask("start", run_id="other", programs=programs(tmp_path))
            assert other["started"]
            assert (await agent.ask("status"))["run_id"] == "other"
            executive = (await agent.ask("status"))["services"]
            assert (await agent.ask("stop"))["ended"]
            assert not (await agent.ask("status"))["kept"]
            assert not any(tree.process(pid) for pid in executive.values())

    asyncio.run(main())


def test_a_keeper_that_is_killed_takes_its_programs_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with connected(place(tmp_path)) as agent:
            keeper = (await agent.ask("start", run_id="run", programs=programs(tmp_path)))["pid"]

            async def running() -> bool:
                return bool((await agent.ask("status"))["services"])

            await until(running, "flight runs")
            pid = (await agent.ask("status"))["services"]["executive"]
            os.kill(keeper, signal.SIGKILL)

            async def gone() -> bool:
                return tree.process(pid) is None and not (await agent.ask("status"))["kept"]

            await until(gone, "nothing is left")

    asyncio.run(main())


def test_programs_that_do_not_start_are_told_with_their_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with connected(place(tmp_path)) as agent:
            wrong = programs(tmp_path, "import sys; print('sat-9: there is no such satellite'); sys.exit(2)")

            async def failed() -> bool:
                return "no such satellite" in (await agent.ask("status"))["problem"]

            await agent.ask("start", run_id="run", programs=wrong)
            await until(failed, "why is told")
            with pytest.raises(AgentError, match="do not add up"):
                await agent.ask("start", run_id="run", programs=[{"name": "x"}])

    asyncio.run(main())


def test_only_one_run_flies_on_a_board(tmp_path: Path) -> None:
    async def main() -> None:
        alone = str(tmp_path / "board.lock")
        first, second = place(tmp_path), Place("here", directory=str(tmp_path / "second"))
        async with connected(first) as agent, connected(second) as other:
            await agent.ask("start", run_id="one", programs=programs(tmp_path), alone=alone)
            with pytest.raises(AgentError, match="flies for another run already"):
                await other.ask("start", run_id="two", programs=programs(tmp_path), alone=alone)
            await agent.ask("stop")
            assert (await other.ask("start", run_id="two", programs=programs(tmp_path), alone=alone))["started"]
            await other.ask("stop")

    asyncio.run(main())


def test_the_directory_for_sockets_keeps_its_name_and_goes_with_the_run(tmp_path: Path) -> None:
    async def main() -> None:
        async with connected(place(tmp_path)) as agent:
            run_dir = Path(agent.hello["run_dir"])
            await agent.ask("start", run_id="one", programs=programs(tmp_path))
        async with connected(place(tmp_path)) as agent:
            # What an earlier run left is ended first, and whoever was told the directory's name goes on with it.
            await agent.ask("stop")
            assert not os.access(run_dir, os.F_OK)
            await agent.ask("start", run_id="two", programs=programs(tmp_path))
            (run_dir / "nodes").mkdir()
            (run_dir / "nodes/node-1.json").write_text("{}")
            assert (await agent.ask("status"))["nodes"] == {"node-1": {}}
            await agent.ask("stop")
            assert (await agent.ask("status"))["nodes"] == {}
            assert not os.access(run_dir, os.F_OK)

    asyncio.run(main())


def test_guards_that_do_not_run_are_a_problem_of_theirs(tmp_path: Path) -> None:
    async def main() -> None:
        async with connected(place(tmp_path)) as agent:
            broken = "import sys; print('no such board'); sys.exit(1)"
            (guards,) = programs(tmp_path, broken)
            guards |= {"name": "guards", "ready": "", "log": str(tmp_path / "board/logs/guards.out")}
            await agent.put({"guards.json": b'{"guards": 1, "acted": []}'})
            await agent.ask("start", run_id="run", programs=[guards, *programs(tmp_path)])

            async def told() -> bool:
                problems = (await agent.ask("status"))["guards"].get("problems", {})
                return "the guards do not run: it ended with exit status 1: no such board" in problems.values()

            await until(told, "nobody guards, and that is told")
            await agent.ask("stop")

    asyncio.run(main())


def test_who_looks_for_the_holder_of_a_lock_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    looking = os.open(path, os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, (looking,)).start()
    with held(path, "run") as mine:
        assert mine
        with held(path, "other") as theirs:
            assert not theirs


def test_a_keeper_that_has_not_said_its_number_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "keeper.lock"
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        # Process 0 is a group: whoever asks, and the ssh session that it came by.
        assert not asyncio.run(kept.stop(tmp_path, 5.0))


def test_a_driver_that_breaks_is_an_answer(tmp_path: Path) -> None:
    class Broken(Agent):
        def __init__(self, directory: Path) -> None:
            super().__init__(directory)
            self._requests |= {"gone": self._raise(DeviceError("meter.x: it is gone"))}
            self._requests |= {"bug": self._raise(AttributeError("x"))}

        @staticmethod
        def _raise(error: Exception) -> Callable[[Any], Any]:
            def answer(_request: Any) -> Any:
                raise error

            return answer

    async def ask(do: str) -> str:
        return str((await Broken(tmp_path).answer(json.dumps({"id": 1, "do": do}).encode()))["error"])

    assert asyncio.run(ask("gone")) == "meter.x: it is gone"
    assert asyncio.run(ask("bug")) == "bug failed: AttributeError('x')"


def test_a_board_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        absent = Place("here", python=str(tmp_path / "python"), directory=str(tmp_path))
        with pytest.raises(BoardLostError, match="cannot be started: No such file"):
            await AgentClient.open(absent)
        script = tmp_path / "no-skyrack"
        script.write_text("#!/bin/sh\necho \"No module named 'hil'\" >&2; exit 1\n")
        script.chmod(0o755)
        with pytest.raises(BoardLostError, match=r"Skyrack is not installed for .*no-skyrack"):
            await AgentClient.open(Place("here", python=str(script)))
        old = tmp_path / "old"
        hello = '{"event": "hello", "version": "0.0.1"}'
        old.write_text(f"#!/bin/sh\necho 'Welcome to this board!'\necho '{hello}'; exec cat\n")
        old.chmod(0o755)
        with pytest.raises(BoardLostError, match=r"has Skyrack 0\.0\.1, and this computer"):
            await AgentClient.open(Place("here", python=str(old)))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("Host key verification failed.", "connect once by hand with 'ssh -p 2222 sky@pi-1'"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", r"-R \[pi-1\]:2222"),
        ("sky@pi-1: Permission denied (publickey).", "ssh-copy-id -p 2222 sky@pi-1"),
        ("ssh: Could not resolve hostname pi-1: Name or service not known", "no host of this name"),
        ("ssh: connect to host pi-1 port 2222: Connection refused", "is sshd running"),
        ("ssh: connect to host pi-1 port 2222: No route to host", "is it switched on"),
        ("Timeout, server pi-1 not responding.\r\nconnection timed out", "is it switched on"),
        ("bash: line 1: exec: /opt/python: not found", "there is no /opt/python"),
        ("/opt/python: Error while finding module ... No module named 'hil'", "Skyrack is not installed"),
        ("ModuleNotFoundError: No module named 'smbus2'", "a library is missing"),
        ("Error: remote port forwarding failed for listen port 20001", "a port of the tunnel is taken"),
        ("something else\n", "something else"),
        ("", "ended without a word"),
    ],
)
def test_what_ssh_says_is_told_with_a_remedy(said: str, meaning: str) -> None:
    import re

    assert re.search(meaning, meaning_of(said, SshAddress("pi-1", "sky", 2222), "/opt/python", 255))


def test_ssh_asks_nothing_and_sees_one_quoted_line() -> None:
    command = ssh_command(SshAddress("pi-1"), ["/a b/python", "-m", "x"], ["-R", "1:127.0.0.1:2"])
    assert command[-3:] == ["--", "pi-1", "exec '/a b/python' -m x"]
    assert "BatchMode=yes" in command
    assert "ExitOnForwardFailure=yes" in command


def test_what_runs_on_a_board_needs_only_what_boards_have() -> None:
    missing = ("numpy", "matplotlib", "tomli_w", "jinja2", "pyvisa", "ground", "fastapi", "nicegui", "hil.sil.system")
    modules = ("agent", "keeper", "guarding", "check_here", "scan", "tunnel_end")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in missing)
    imported = "".join(f"import hil.boards.{name}; " for name in modules)
    code = f"import sys; {blocked}{imported}import hil.devices.board_node, hil.devices.cpu_meter, hil.devices.simulated"
    subprocess.run([sys.executable, "-c", code], check=True)
