"""The agent: what a bench computer asks of a board, over ssh or of itself. ``python -m hil.boards.agent``.

JSON objects, one a line. In: ``{"id": 7, "do": "kill", "service": "power"}``. Out, once for each:
``{"id": 7, "ok": {...}}`` or ``{"id": 7, "error": "one sentence"}``. The first line out is the event
``{"event": "hello", ...}`` with what ``hello`` answers. An agent holds nothing: what it starts goes on when it ends,
and the next agent of the same ``--directory`` finds it. Several may be there at once.

    hello           version, model, kernel, python, boot_id, cores, memory_bytes, directory, run_dir...
    clock           monotonic_seconds, realtime_seconds, boot_id
    scan            what hil.boards.scan finds
    check           bench, satellite (paths, put before), board, exercise ("", "safe", "all") -> what its devices read
    put             files {path: base64}, below the directory, readable by nobody else
    get             path -> base64 (and "" with missing: true)
    ports           wanted {name: how many in a row} -> {name: first port}, free here, the same ones again later
    start           run_id, programs [{name, argv, log, stage, ready}], alone -> starts their keeper, or finds it
    stop            ends the keeper and all that it keeps; seconds
    status          run_id, kept, processes, services {name: pid}, nodes, guards
    kill            service ("executive", "node.node-2" too), signal (9): a fault to be survived -> pid
    clear-guards    forgets what the guards did: they act no more, until a limit is crossed again
    metrics         port -> text of the executive's Prometheus page
    tail            log (below logs/), lines -> text
    release-tunnel  ends the ssh session of a tunnel that was lost, which would hold its ports until it notices
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import signal
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from flight.compute.shim import tree
from flight.hal import DeviceError
from hil.boards import kept, ports, tunnel_end
from hil.boards.requests import RequestError, number, text
from skyrack.errors import UserError

LONGEST_LINE_BYTES = 64 << 20
TAIL_BYTES = 1 << 16
Answer = Mapping[str, Any]
Do = Callable[[Mapping[str, Any]], Answer | Awaitable[Answer]]


class Agent:
    """The agent of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._requests: dict[str, Do] = {
            "hello": lambda _: self.hello(),
            "clock": lambda _: clock(),
            "scan": _scan,
            "check": self._check,
            "put": self._put,
            "get": self._get,
            "ports": self._ports,
            "start": self._start,
            "stop": self._stop,
            "status": lambda _: kept.status(self.directory),
            "kill": self._kill,
            "clear-guards": lambda _: kept.clear_guards(self.directory),
            "metrics": self._metrics,
            "tail": self._tail,
            "release-tunnel": lambda _: {"released": tunnel_end.release(self.directory)},
        }

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Answer one line; never raises for what it says."""
        request: Any = None
        try:
            request = json.loads(line)
            answer = self._requests.get(request["do"], self._unknown)(request)
            if not isinstance(answer, Mapping):
                answer = await answer
        except (ValueError, TypeError, KeyError) as error:
            return {"id": _id(request), "error": f"this is no request: {error!r}"}
        except (RequestError, UserError, DeviceError, LookupError, OSError, ImportError) as error:
            return {"id": _id(request), "error": str(error)}
        except Exception as error:  # noqa: BLE001 - drivers are other people's code; who asked must not wait for ever
            return {"id": _id(request), "error": f"{request['do']} failed: {error!r}"}
        return {"id": _id(request), "ok": dict(answer)}

    def _unknown(self, request: Mapping[str, Any]) -> Answer:
        raise RequestError(f'no request "{request["do"]}"; there are {", ".join(sorted(self._requests))}')

    def hello(self) -> Answer:
        """What this board is."""
        return {
            "version": installed_version(),
            "model": _model(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "host": platform.node(),
            "boot_id": tree.boot_id(),
            "cores": os.cpu_count() or 1,
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "user": os.environ.get("USER") or str(os.getuid()),
            "executable": sys.executable,
            "directory": str(self.directory),
            "run_dir": str(kept.run_dir_of(self.directory)),
        }

    def _inside(self, path: str) -> Path:
        found = (self.directory / path).resolve()
        if not found.is_relative_to(self.directory.resolve()):
            raise RequestError(f"{path}: must be a path below {self.directory}")
        return found

    def _put(self, request: Mapping[str, Any]) -> Answer:
        files = {self._inside(path): base64.b64decode(data) for path, data in request["files"].items()}
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        return {"put": len(files)}

    def _get(self, request: Mapping[str, Any]) -> Answer:
        path = self._inside(text(request, "path"))
        if not path.is_file():
            return {"data": "", "missing": True}
        return {"data": base64.b64encode(path.read_bytes()).decode("ascii"), "missing": False}

    def _ports(self, request: Mapping[str, Any]) -> Answer:
        return ports.ports_for(self.directory / "ports.json", request["wanted"])

    async def _start(self, request: Mapping[str, Any]) -> Answer:
        return await kept.start(
            self.directory, text(request, "run_id"), request["programs"], text(request, "alone", "")
        )

    async def _stop(self, request: Mapping[str, Any]) -> Answer:
        return {"ended": await kept.stop(self.directory, number(request, "seconds", 6.0))}

    def _kill(self, request: Mapping[str, Any]) -> Answer:
        signum = int(number(request, "signal", float(signal.SIGKILL)))
        return {"pid": kept.kill(self.directory, text(request, "service"), signum)}

    async def _check(self, request: Mapping[str, Any]) -> Answer:
        from hil.boards.check_here import check_board

        bench, satellite = self._inside(text(request, "bench")), self._inside(text(request, "satellite"))
        return await check_board(bench, text(request, "board"), satellite, exercise=text(request, "exercise", ""))

    async def _metrics(self, request: Mapping[str, Any]) -> Answer:
        url = f"http://127.0.0.1:{int(number(request, 'port'))}/metrics"

        def fetch() -> str:
            with urllib.request.urlopen(url, timeout=3.0) as page:
                return cast("bytes", page.read()).decode()

        return {"text": await asyncio.to_thread(fetch)}

    def _tail(self, request: Mapping[str, Any]) -> Answer:
        path = self._inside(f"logs/{text(request, 'log')}")
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return {"text": "\n".join(lines[-int(number(request, "lines", 20.0)) :])}


def clock() -> Answer:
    """The board's clocks, now."""
    return {"monotonic_seconds": time.monotonic(), "realtime_seconds": time.time(), "boot_id": tree.boot_id()}


def installed_version() -> str:
    """Version of Skyrack here."""
    try:
        return version("skyrack")
    except PackageNotFoundError:
        return ""


def _id(request: object) -> object:
    return request.get("id") if isinstance(request, dict) else None


def _model() -> str:
    """Of a board its device tree tells; of a computer, its firmware."""
    for path in ("/proc/device-tree/model", "/sys/class/dmi/id/product_name"):
        with contextlib.suppress(OSError):
            found = Path(path).read_text(errors="replace").rstrip("\0\n ")
            if found:
                return found
    return platform.machine()


async def _scan(request: Mapping[str, Any]) -> Answer:
    from hil.boards.scan import scan_here

    return await asyncio.to_thread(scan_here, request.get("buses", ()))


async def serve(agent: Agent, output: int) -> None:
    """Answer standard input until it ends. Slow requests hold nobody up: they are answered when they are done."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say(output, {"event": "hello", **agent.hello()})
    tasks: set[asyncio.Task[None]] = set()

    async def one(line: bytes) -> None:
        _say(output, await agent.answer(line))

    while line := await reader.readline():
        # A clock that is asked is read at once.
        if line.strip():
            task = asyncio.create_task(one(line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()


def _say(output: int, message: Mapping[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(output, data) :]


def main() -> int:
    """Process entry."""
    parser = argparse.ArgumentParser(prog="python -m hil.boards.agent", description="Answer a bench computer.")
    parser.add_argument("--directory", default="~/.skyrack/board", help="where this board keeps a run's files")
    parser.add_argument("--hold", action="store_true", help="be the far end of a tunnel: say so, and wait for the end")
    arguments = parser.parse_args()
    directory = Path(arguments.directory).expanduser().absolute()
    # Nothing that is imported may write between answers.
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        if arguments.hold:
            tunnel_end.hold(directory, lambda message: _say(output, message))
        else:
            asyncio.run(serve(Agent(directory), output))
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
