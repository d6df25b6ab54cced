"""The API: how long a submission takes while jobs are queued, beside a bare endpoint that commits one row."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import httpx

from hil.bench.ground import Options, Say
from hil.bench.ground.station import Station, free_port, listens

__all__ = ["measure"]

_ROUNDS: Final = 4
_PACKAGE: Final = b"nothing that runs\n"
_DIGEST: Final = hashlib.sha256(_PACKAGE).hexdigest()
_BODY: Final = {
    "name": "queued",
    "command": ["true"],
    "resources": {"power_watts": 1, "cores": 1, "expected_seconds": 1},
    "package_sha256": _DIGEST,
    "package_bytes": len(_PACKAGE),
}


def measure(options: Options, say: Say) -> dict[str, Any]:
    """Submissions by so many clients at a time, to the ground and to the bare endpoint by turns."""
    with tempfile.TemporaryDirectory(prefix="sky-") as directory:
        home = Path(directory)
        station = Station(home, home / "run", (), 0, needs_broker=False)
        port = free_port()
        bare = subprocess.Popen(
            [sys.executable, "-m", "hil.bench.ground.bare", str(home / "bare.db"), str(port)], cwd=home
        )
        try:
            return asyncio.run(_measure(station, f"http://127.0.0.1:{port}", options, say))
        finally:
            bare.kill()
            bare.wait()
            station.close()


async def _measure(station: Station, bare: str, options: Options, say: Say) -> dict[str, Any]:
    station.start("ground")
    await station.until_up("ground")
    await station.until(lambda: listens(int(bare.rpartition(":")[2])), "the bare endpoint listens")
    numbers = iter(range(10**9))
    limits = httpx.Limits(max_connections=options.clients, max_keepalive_connections=options.clients)
    ways: dict[str, list[float]] = {"bare": [], "ground": []}
    rates: dict[str, list[float]] = {"bare": [], "ground": []}
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http:
        await station.ask(http, "PUT", f"/v1/packages/{_DIGEST}", content=_PACKAGE)
        headers = station.headers()
        say(f"queueing {options.queued_jobs:,} jobs")
        await _submit(http, station.url, headers, numbers, options.queued_jobs, options.clients)
        share = max(options.clients, options.requests // _ROUNDS)
        for round_ in range(_ROUNDS):
            say(f"round {round_ + 1} of {_ROUNDS}")
            for way, url in (("bare", bare), ("ground", station.url))[:: 1 if round_ % 2 else -1]:
                began = time.perf_counter()
                ways[way] += await _submit(http, url, headers, numbers, share, options.clients)
                rates[way].append(share / (time.perf_counter() - began))
    figures: dict[str, Any] = {"clients": options.clients, "queued_jobs": options.queued_jobs}
    for way, seconds in ways.items():
        cuts = quantiles(seconds, n=100)
        figures[way] = {
            "requests": len(seconds),
            "p50_seconds": cuts[49],
            "p99_seconds": cuts[98],
            "requests_per_second": median(rates[way]),
        }
    figures["p99_ratio"] = figures["ground"]["p99_seconds"] / figures["bare"]["p99_seconds"]
    return figures


async def _submit(
    http: httpx.AsyncClient, url: str, headers: dict[str, str], numbers: Iterator[int], count: int, clients: int
) -> list[float]:
    """Seconds of each of so many submissions, each client's next as soon as its last was answered."""
    left = iter(range(count))
    seconds: list[float] = []

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            answer = await http.put(f"{url}/v1/jobs/job-{next(numbers)}", json=_BODY, headers=headers)
            seconds.append(time.perf_counter() - began)
            answer.raise_for_status()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds
