"""Telemetry into the archive: decode, limits, latest values, durable batches, sealed chunks, in one process.

A value is one field of one message that the dictionary knows, as Yamcs counts parameters. The baseline is nothing but
protobuf: the same batches, and the messages in them, decoded in the same run.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from ground.database import Database
from ground.picture import Picture
from ground.store import batches, chunks, migration
from ground.telemetry.query import history_of
from ground.telemetry.service import TelemetryService, TelemetrySettings
from hil.bench.ground import Options, Say
from skyrack import files
from skyrack.clock import Anchor, MissionClock
from skyrack.dictionary import message_type
from skyrack.satellite import load_constellation
from skyrack.v1 import (
    backhaul_pb2,
    common_pb2,
    compute_pb2,
    gateway_pb2,
    laser_pb2,
    navigation_pb2,
    power_pb2,
    thermal_pb2,
)

__all__ = ["encoded_batches", "measure"]

TARGET_VALUES_PER_SECOND: Final = 400_000.0
YAMCS_VALUES_PER_SECOND: Final = 369_000.0
START: Final = 1.8e9
_BATCHES: Final = 1500
_SAMPLES: Final = 200
_WRITERS: Final = 16
"""Batches that wait for one commit: each gateway has some under way."""
_REPETITIONS: Final = 3
_SERVICES: Final = ("executive", "navigation", "power", "thermal", "compute", "laser", "gateway")


def _published(at: float, tick: int, rng: random.Random) -> Iterator[tuple[str, str, Message]]:
    """(source, key, message): what a satellite publishes in a second, with readings that move as sensors do."""
    noise = rng.gauss
    yield (
        "power",
        "",
        power_pb2.PowerStatus(
            mission_time_seconds=at,
            state_of_charge_ratio=0.8 + noise(0, 0.001),
            battery_voltage_volts=28 + noise(0, 0.02),
            battery_current_amperes=noise(3, 0.1),
            array_power_watts=900 + noise(0, 4),
            load_power_watts=700 + noise(0, 4),
            battery_energy_joules=3.1e6 + noise(0, 500),
            loads=[
                power_pb2.LoadStatus(load=f"node-{number}", draw_watts=150 + noise(0, 2), switch_closed=True)
                for number in range(4)
            ],
        ),
    )
    yield "thermal", "", thermal_pb2.ThermalStatus(mission_time_seconds=at)
    yield "navigation", "", navigation_pb2.OrbitState(mission_time_seconds=at)
    yield "compute", "", compute_pb2.ComputeStatus(mission_time_seconds=at)
    yield "laser", "optical-1", laser_pb2.LaserStatus(mission_time_seconds=at, terminal="optical-1")
    if tick % 5 == 0:
        yield (
            "gateway",
            "",
            gateway_pb2.LinkStatus(
                mission_time_seconds=at,
                connected=True,
                link="optical",
                frames_sent_total=tick,
                outbox_bytes=tick * 31 % 977,
            ),
        )
        for index, service in enumerate(_SERVICES):
            yield (
                service,
                "",
                common_pb2.Health(
                    service=service,
                    incarnation=17,
                    uptime_seconds=at - START,
                    loop_lag_seconds=abs(noise(0.002, 0.001)),
                    cycle_seconds=abs(noise(0.004, 0.001)),
                    resident_memory_bytes=38_000_000 + index * 4096,
                    messages_published_total=tick * 3,
                    messages_received_total=tick * 11,
                ),
            )


def encoded_batches(count: int, seed: int, samples: int = _SAMPLES) -> list[bytes]:
    """Payloads as a gateway makes them, of so many messages each."""
    rng = random.Random(f"{seed}/telemetry")
    made: list[bytes] = []
    sequences: dict[tuple[str, str, str], int] = {}
    gathered: list[backhaul_pb2.TelemetrySample] = []
    tick = 0
    while len(made) < count:
        tick += 1
        at = START + tick + rng.random() * 1e-3
        for source, key, message in _published(at, tick, rng):
            name = message.DESCRIPTOR.full_name
            topic = (name, source, key)
            sequences[topic] = sequences.get(topic, 0) + 1
            gathered.append(
                backhaul_pb2.TelemetrySample(
                    message_type=name,
                    key=key,
                    source=source,
                    mission_time_seconds=at,
                    payload=message.SerializeToString(),
                    sequence=sequences[topic],
                    incarnation=17,
                )
            )
            if len(gathered) == samples:
                batch = backhaul_pb2.TelemetryBatch(samples=gathered, rate=1.0)
                made.append(backhaul_pb2.Payload(telemetry=batch).SerializeToString())
                gathered = []
    return made


def _types(datas: list[bytes]) -> set[str]:
    return {sample.message_type for data in datas for sample in backhaul_pb2.Payload.FromString(data).telemetry.samples}


def _decode_only(datas: list[bytes]) -> float:
    parse = {name: message_type(name).FromString for name in _types(datas[:20])}
    began = time.perf_counter()
    for data in datas:
        for sample in backhaul_pb2.Payload.FromString(data).telemetry.samples:
            parse[sample.message_type](sample.payload)
    return time.perf_counter() - began


async def _archive(datas: list[bytes], directory: Path) -> dict[str, float]:
    """All the way, durably, until the last is sealed."""
    _, designs = load_constellation(files.shipped("constellations", "demo"))
    name = next(iter(designs))
    database = Database(directory / "ground.db")
    await migration.prepare(database)
    clock = MissionClock(Anchor(START, time.time()))

    async def never(_satellite: str, _request: object) -> None:
        raise AssertionError("nothing is missing")

    service = TelemetryService(
        Picture({name: designs[name]}), database, clock, TelemetrySettings(), lambda: None, never, directory
    )
    await service.open()
    waiting = iter(datas)

    def keep(connection: Any, data: bytes) -> tuple[int | None, backhaul_pb2.TelemetryBatch]:
        batch = backhaul_pb2.Payload.FromString(data).telemetry
        return batches.add(connection, name, batch, data, START), batch

    async def writer() -> None:
        for data in waiting:
            number, batch = await database.write(partial(keep, data=data))
            service.take(name, number, batch, START)

    began, cpu = time.perf_counter(), time.process_time()
    writers = asyncio.gather(*(writer() for _ in range(_WRITERS)))
    while not writers.done():
        await asyncio.wait([writers], timeout=0.05)
        await service.step(service.pipelines[name].newest_seconds, is_connected=True)
    await writers
    await service.archiver.seal([name])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    pipeline = service.pipelines[name]
    _, kept, size = await database.read(chunks.totals)
    if pipeline.duplicates or pipeline.refused or kept != pipeline.messages:
        raise AssertionError(f"{pipeline.messages} messages came, {kept} are kept")
    fields = [
        "PowerStatus.state_of_charge_ratio",
        "PowerStatus.battery_voltage_volts",
        "PowerStatus.array_power_watts",
        "PowerStatus.load_power_watts",
        "PowerStatus.loads.draw_watts",
    ]
    began = time.perf_counter()
    await history_of(service.archiver, name, fields, pipeline.limits, START, pipeline.newest_seconds, 60.0)
    query = time.perf_counter() - began
    await database.close()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "values": pipeline.values,
        "messages": pipeline.messages,
        "bytes": size,
        "query_seconds": query,
        "hours": (pipeline.newest_seconds - START) / 3600,
    }


def measure(options: Options, say: Say) -> dict[str, Any]:
    """Values a second into the archive, beside decoding alone; medians of three runs, interleaved."""
    datas = encoded_batches(_BATCHES, options.seed)
    decode: list[float] = []
    runs: list[dict[str, float]] = []
    for number in range(_REPETITIONS):
        say(f"telemetry: run {number + 1} of {_REPETITIONS}")
        decode.append(_decode_only(datas))
        with tempfile.TemporaryDirectory(prefix="skyrack-bench-") as directory:
            runs.append(asyncio.run(_archive(datas, Path(directory))))
    last = runs[-1]
    seconds = statistics.median(run["seconds"] for run in runs)
    rate = last["values"] / seconds
    return {
        "values_per_second": rate,
        "values_per_cpu_second": last["values"] / statistics.median(run["cpu_seconds"] for run in runs),
        "messages_per_second": last["messages"] / seconds,
        "batches_per_second": len(datas) / seconds,
        "decoding_alone_values_per_second": last["values"] / statistics.median(decode),
        "ratio_to_decoding_alone": statistics.median(decode) / seconds,
        "archive_bytes_per_value": last["bytes"] / last["values"],
        "batch_bytes_per_value": sum(map(len, datas)) / last["values"],
        "query_8_fields_by_minute_seconds": last["query_seconds"],
        "query_hours": last["hours"],
        "target_values_per_second": TARGET_VALUES_PER_SECOND,
        "yamcs_values_per_second": YAMCS_VALUES_PER_SECOND,
        "reached": rate >= TARGET_VALUES_PER_SECOND,
    }
