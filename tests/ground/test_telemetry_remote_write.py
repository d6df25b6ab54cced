"""Remote write: into a real Prometheus that is killed and restarted, and past servers that refuse or are overloaded."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest

from ground.database import Database
from ground.remote_write import RemoteWriter, wall_seconds
from ground.store import batches, migration
from skyrack.clock import Anchor
from skyrack.v1 import backhaul_pb2, power_pb2

START = 1.8e9
URL = "http://prometheus.test/api/v1/write"


def batch(start: float, count: int, satellite_charge: float = 0.8) -> bytes:
    samples = []
    for number in range(count):
        at = start + number
        status = power_pb2.PowerStatus(
            mission_time_seconds=at,
            state_of_charge_ratio=satellite_charge,
            loads=[power_pb2.LoadStatus(load="node-1", draw_watts=float(number), switch_closed=True)],
        )
        samples.append(
            backhaul_pb2.TelemetrySample(
                message_type="skyrack.v1.PowerStatus",
                source="power",
                mission_time_seconds=at,
                payload=status.SerializeToString(),
            )
        )
    return backhaul_pb2.Payload(telemetry=backhaul_pb2.TelemetryBatch(samples=samples)).SerializeToString()


async def add(database: Database, *datas: bytes) -> None:
    def transaction(connection: Any) -> None:
        for data in datas:
            batches.add(connection, "sat-1", backhaul_pb2.Payload.FromString(data).telemetry, data, START)

    await database.write(transaction)


async def opened(path: Path | None) -> Database:
    database = Database(path)
    await migration.prepare(database)
    return database


async def until(condition: Any, what: str, seconds: float = 30.0) -> Any:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(what)


class Prometheus:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        config = "storage:\n  tsdb:\n    out_of_order_time_window: 30m\nscrape_configs: []\n"
        (directory / "prometheus.yml").write_text(config)

    def start(self) -> None:
        with (self.directory / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(shutil.which("prometheus")),
                    f"--config.file={self.directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--web.enable-remote-write-receiver",
                ],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if httpx.get(f"{self.url}/-/ready", trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError((self.directory / "prometheus.log").read_text()[-2000:])

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def value(self, expression: str, at: float) -> float:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression, "time": at}, trust_env=False)
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed on this machine")
    made = Prometheus(tmp_path)
    try:
        yield made
    finally:
        made.kill()


def test_what_was_stored_appears_at_its_time_though_both_sides_are_restarted(
    prometheus: Prometheus, tmp_path: Path
) -> None:
    anchor = Anchor(START, time.time() - 1000, rate=2.0)  # mission time runs twice as fast as the wall's

    async def scenario() -> None:
        database = await opened(tmp_path / "ground.db")
        prometheus.start()
        writer = RemoteWriter(f"{prometheus.url}/api/v1/write", database, anchor, lambda *_: None)
        task = asyncio.create_task(writer.run())
        await add(database, *(batch(START + 600 + 10 * number, 10) for number in range(20)))
        await until(lambda: writer.sent_samples, "the first samples are sent")
        prometheus.kill()
        await add(database, *(batch(START + 800 + 10 * number, 10) for number in range(20)))
        await until(lambda: writer.retries, "it is tried again")
        # The ground goes away as well, and comes back after Prometheus.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()
        prometheus.start()
        database = await opened(tmp_path / "ground.db")
        again = RemoteWriter(f"{prometheus.url}/api/v1/write", database, anchor, lambda *_: None)
        task = asyncio.create_task(again.run())
        # What a recorder on board sent long after: older than all that is there.
        await add(database, batch(START + 400, 200))
        newest = wall_seconds(anchor, START + 1000)
        charge = 'skyrack_power_status_state_of_charge_ratio{satellite="sat-1"}'

        def complete() -> bool:
            return prometheus.value(f"count_over_time({charge}[1h])", newest) == 600

        try:
            await until(
                complete, f"all samples are there, not {prometheus.value(f'count_over_time({charge}[1h])', newest)}"
            )
            assert again.dropped_samples == 0
            at = wall_seconds(anchor, START + 655)
            draw = 'skyrack_power_status_loads_draw_watts{satellite="sat-1",load="node-1"}'
            assert prometheus.value(draw, at) == 5.0
            assert prometheus.value('skyrack_mission_time_seconds{satellite="sat-1"}', at) == START + 655
            assert await database.read(lambda connection: batches.outgoing(connection, 0)) != []
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await database.close()

    asyncio.run(scenario())


def samples_in(body: bytes) -> int:
    return bytes(cramjam.snappy.decompress_raw(body)).count(b"\x09")


def test_overload_is_waited_out_and_nothing_is_sent_twice_at_a_time() -> None:
    answers = [429, 503, 500]
    under_way = 0
    taken: list[int] = []

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal under_way
        under_way += 1
        assert under_way == 1, "one request at a time"
        await asyncio.sleep(0)
        under_way -= 1
        if answers:
            return httpx.Response(answers.pop(0), headers={"Retry-After": "0"})
        taken.append(len(request.content))
        return httpx.Response(204)

    async def scenario() -> None:
        database = await opened(None)
        await add(database, batch(START, 10))
        told: list[Any] = []
        writer = RemoteWriter(
            URL, database, Anchor(START, START), lambda *what: told.append(what), httpx.MockTransport(server)
        )
        task = asyncio.create_task(writer.run())
        await until(lambda: taken, "it is taken in the end")
        assert writer.retries == 3
        assert not told
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_what_is_refused_for_good_is_narrowed_down_counted_and_left_out() -> None:
    async def server(request: httpx.Request) -> httpx.Response:
        plain = bytes(cramjam.snappy.decompress_raw(request.content))
        if b"battery_voltage" in plain:
            return httpx.Response(400, text="this name is not liked here")
        return httpx.Response(204)

    async def scenario() -> None:
        database = await opened(None)
        await add(database, batch(START, 8))
        told: list[Any] = []
        writer = RemoteWriter(
            URL, database, Anchor(START, START), lambda *what: told.append(what), httpx.MockTransport(server)
        )
        task = asyncio.create_task(writer.run())
        await until(lambda: told, "the refusal is told")
        await until(lambda: writer.sent_samples >= 60, "the rest is sent")
        assert sum(count for count, _ in told) == writer.dropped_samples
        assert writer.dropped_samples == 8
        assert "not liked" in told[0][1]
        position, dropped = await until(
            lambda: database.read(lambda connection: batches.cursor(connection, "remote_write")), "the cursor"
        )
        assert (position, dropped) == (1, 8)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
