"""The bus against plain blocking pyzmq: throughput and latency between two processes, cost of a delivery inproc."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

import zmq

from flight.bus import Bus, Endpoints
from hil.bench.bus_child import PAYLOAD_BYTES, make_message
from skyrack import virtual
from skyrack.clock import MissionClock
from skyrack.v1.power_pb2 import PowerStatus

REPETITIONS = 31
THROUGHPUT_MESSAGES = 5_000
LATENCY_MESSAGES = 300
LATENCY_RATE_PER_SECOND = 1_000
TARGET_THROUGHPUT_RATIO = 0.5
TARGET_P99_RATIO = 1.5
_SERVICES = ("navigation", "power", "thermal", "compute", "gateway")


@dataclass(frozen=True, slots=True)
class _Pair:
    """A publisher and a receiver, in processes of their own."""

    commands: IO[str]
    results: IO[str]

    @classmethod
    def start(cls, way: str, directory: Path, stack: ExitStack) -> _Pair:
        directory.mkdir()
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "hil.bench.bus_child", way, role, str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for role in ("publish", "receive")
        ]
        for child in children:
            stack.callback(child.__exit__, None, None, None)
            stack.callback(child.kill)
        pair = cls(cast("IO[str]", children[0].stdin), cast("IO[str]", children[1].stdout))
        if pair.results.readline() != "hearing\n":
            raise RuntimeError(f"the receiver of the {way} benchmark ended early")
        return pair

    def run(self, count: int, rate: int) -> dict[str, float]:
        """Send so many messages at such a rate (0: as fast as it goes); what the receiver measured."""
        self.commands.write(f"{count} {rate}\n")
        self.commands.flush()
        result: dict[str, float] = json.loads(self.results.readline())
        if result["received"] != count:
            raise RuntimeError(f"{result['received']:.0f} of {count} messages arrived; the benchmark must lose none")
        return result


def measure_ipc(repetitions: int = REPETITIONS) -> dict[str, Any]:
    """Throughput and latency of the bus beside plain pyzmq, interleaved, as medians over the repetitions."""
    ways = ("plain", "bus")
    runs: dict[str, dict[str, list[dict[str, float]]]] = {way: {"fast": [], "paced": []} for way in ways}
    with tempfile.TemporaryDirectory(prefix="skyrack-") as directory, ExitStack() as stack:
        pairs = {way: _Pair.start(way, Path(directory) / way, stack) for way in ways}
        for way in ways:
            pairs[way].run(THROUGHPUT_MESSAGES // 4, 0)
        for repetition in range(repetitions):
            for way in ways if repetition % 2 else reversed(ways):
                runs[way]["fast"].append(pairs[way].run(THROUGHPUT_MESSAGES, 0))
                runs[way]["paced"].append(pairs[way].run(LATENCY_MESSAGES, LATENCY_RATE_PER_SECOND))
    figures = {
        way: {
            "throughput_messages_per_second": median(run["messages_per_second"] for run in runs[way]["fast"]),
            "p50_seconds": median(run["p50_seconds"] for run in runs[way]["paced"]),
            "p99_seconds": median(run["p99_seconds"] for run in runs[way]["paced"]),
        }
        for way in ways
    }
    throughput = figures["bus"]["throughput_messages_per_second"] / figures["plain"]["throughput_messages_per_second"]
    p99 = figures["bus"]["p99_seconds"] / figures["plain"]["p99_seconds"]
    return {
        **figures,
        "throughput_ratio": throughput,
        "throughput_target": TARGET_THROUGHPUT_RATIO,
        "p99_ratio": p99,
        "p99_target": TARGET_P99_RATIO,
        "reached": throughput >= TARGET_THROUGHPUT_RATIO and p99 <= TARGET_P99_RATIO,
    }


def measure_inproc(steps: int = 2_000) -> float:
    """Host seconds per delivery with five services in full mesh over inproc, in virtual time."""

    async def main() -> float:
        clock = MissionClock.starting_at(1.7e9)
        delivered = 0

        def count(_message: PowerStatus, _header: object, _key: str) -> None:
            nonlocal delivered
            delivered += 1

        with zmq.Context(0) as context:
            endpoints = Endpoints.inproc("bench")
            buses = [Bus(name, endpoints, clock, 1, context) for name in _SERVICES]
            for bus in buses:
                for source in _SERVICES:
                    if source != bus.name:
                        bus.subscribe(source, PowerStatus, count)
                await bus.open()
            await clock.sleep(1.0)
            message = make_message()
            begin = time.perf_counter()
            for _ in range(steps):
                for bus in buses:
                    bus.publish(message)
                await clock.sleep(1.0)
            seconds = time.perf_counter() - begin
            for bus in buses:
                await bus.close()
        return seconds / delivered

    return virtual.run(main)


def run_bench() -> dict[str, Any]:
    """Measure everything."""
    return {
        "payload_bytes": PAYLOAD_BYTES,
        "ipc": measure_ipc(),
        "inproc_seconds_per_delivery": median(measure_inproc() for _ in range(3)),
    }
