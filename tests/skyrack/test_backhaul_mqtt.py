"""Delivery through real MQTT brokers: the embedded kind (amqtt) always, mosquitto where it is installed."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from skyrack.backhaul import OFFLINE, BackhaulError, Will, down_topic, state_topic, up_topic
from skyrack.backhaul.mqtt import mqtt_connector
from skyrack.clock import Anchor, MissionClock
from skyrack.database import Database
from skyrack.delivery import Delivered, DeliverySettings, Endpoint, Link, reconcile
from skyrack.errors import UserError
from skyrack.signing import Right, SigningKey, seeded_ring
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_STATUS

Broker = Callable[[int, Path], AbstractAsyncContextManager[None]]
SETTINGS = DeliverySettings(retransmit_initial_seconds=1.0, retransmit_minimum_seconds=0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def killed_at_the_end(*command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


def run_mosquitto(program: str, port: int, directory: Path) -> AbstractAsyncContextManager[None]:
    config = directory / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    return killed_at_the_end(program, "-c", str(config))


def run_amqtt(port: int, _directory: Path) -> AbstractAsyncContextManager[None]:
    return killed_at_the_end(sys.executable, "-m", "ground.broker", "--port", str(port))


@pytest.fixture(params=["amqtt", "mosquitto"])
def broker(request: pytest.FixtureRequest, requires_tool: Callable[[str], str]) -> Broker:
    return run_amqtt if request.param == "amqtt" else partial(run_mosquitto, requires_tool("mosquitto"))


class Party:
    """One side, as gateway and ground make it."""

    def __init__(self, name: str, right: Right, database: Database, clock: MissionClock) -> None:
        self.received: list[bytes] = []
        self.presence: list[tuple[str, bool]] = []
        self.arrived = asyncio.Event()
        self.endpoint = Endpoint(
            name,
            key=SigningKey.from_seed(3, name),
            ring=seeded_ring(3, ["sat-1"]),
            peer_right=right,
            database=database,
            clock=clock,
            on_item=lambda connection, item: None,
            after_commit=self._took,
            settings=SETTINGS,
        )

    def _took(self, items: Sequence[Delivered]) -> None:
        self.received += [item.payload for item in items]
        self.arrived.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.received) < count:
                self.arrived.clear()
                await self.arrived.wait()


@asynccontextmanager
async def both(port: int, directory: Path) -> AsyncIterator[tuple[Party, Party]]:
    clock = MissionClock(Anchor.here(1.8e9, rate=60))
    satellite = Party("sat-1", Right.RELAY, Database(directory / "satellite.db"), clock)
    ground = Party("ground", Right.SATELLITE, Database(directory / "ground.db"), clock)
    url = f"mqtt://127.0.0.1:{port}"
    will = Will(state_topic("sat-1"), OFFLINE)
    up = mqtt_connector(url, client_id="sat-1", subscriptions=[up_topic("sat-1")], will=will, keepalive_seconds=2)
    down = mqtt_connector(
        url, client_id="ground", subscriptions=[down_topic("+", "+"), state_topic("+")], keepalive_seconds=2
    )
    links = [
        Link(satellite.endpoint, lambda _, stream: down_topic("sat-1", stream), presence="sat-1").serve(
            up, random.Random(1)
        ),
        Link(
            ground.endpoint,
            lambda name, _: up_topic(name),
            on_presence=lambda *presence: ground.presence.append(presence),
        ).serve(down, random.Random(2)),
    ]
    await satellite.endpoint.open()
    await ground.endpoint.open()
    satellite.endpoint.peer("ground")
    ground.endpoint.peer("sat-1")
    tasks = [asyncio.create_task(link) for link in links]
    try:
        yield satellite, ground
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await satellite.endpoint.database.close()
        await ground.endpoint.database.close()
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes


def test_items_pass_both_ways_exactly_once(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        async with broker(port, tmp_path), both(port, tmp_path) as (satellite, ground):
            down = [b"down %d" % number + bytes(number % 5000) for number in range(300)]
            up = [b"up %d" % number for number in range(300)]
            await asyncio.gather(*(satellite.endpoint.send("ground", STREAM_BULK, payload) for payload in down))
            await asyncio.gather(*(ground.endpoint.send("sat-1", STREAM_STATUS, payload) for payload in up))
            await ground.wait_for(len(down))
            await satellite.wait_for(len(up))
            assert sorted(ground.received) == sorted(down)
            assert sorted(satellite.received) == sorted(up)
            assert ("sat-1", True) in ground.presence

    asyncio.run(scenario())


def test_nothing_is_lost_when_the_broker_dies(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        async with both(port, tmp_path) as (satellite, ground):
            total = 0
            for round_ in range(3):
                async with broker(port, tmp_path):
                    for number in range(50):
                        await satellite.endpoint.send("ground", STREAM_BULK, b"%d.%d" % (round_, number))
                        total += 1
                    await ground.wait_for(total - 40)  # some are still on the way when the broker goes
                for number in range(20):
                    await satellite.endpoint.send("ground", STREAM_BULK, b"%d.dark.%d" % (round_, number))
                    total += 1
            async with broker(port, tmp_path):
                await ground.wait_for(total)
                async with asyncio.timeout(30):
                    while (await satellite.endpoint.ledgers())[0][0].waiting:  # noqa: ASYNC110 - acknowledgements
                        await asyncio.sleep(0.05)
                assert len(set(ground.received)) == len(ground.received) == total
                sent, _ = await satellite.endpoint.ledgers()
                _, received = await ground.endpoint.ledgers()
                assert reconcile(sent, received) == []

    asyncio.run(scenario())


def test_a_far_end_that_resets_at_once_is_a_backhaul_error_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    read = paho.Client.loop_read

    def read_while_another_thread_wants_to_write(client: paho.Client) -> object:
        client._registered_write = False
        client._call_socket_register_write()
        return read(client)

    async def main() -> list[str]:
        logged: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(str(context)))
        monkeypatch.setattr(paho.Client, "loop_read", read_while_another_thread_wants_to_write)
        server = socket.create_server(("127.0.0.1", 0))
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        connect = mqtt_connector(url, client_id="x", subscriptions=(), timeout_seconds=0.5)
        connecting = asyncio.create_task(connect().__aenter__())
        await asyncio.sleep(0.1)
        # Whoever waits to be accepted is reset.
        server.close()
        with pytest.raises(BackhaulError):
            await connecting
        return logged

    assert asyncio.run(main()) == []


def test_a_broker_that_is_not_there_is_a_backhaul_error() -> None:
    async def scenario() -> None:
        connector = mqtt_connector(f"mqtt://127.0.0.1:{free_port()}", client_id="x", subscriptions=["a"])
        with pytest.raises(BackhaulError, match="mqtt://127"):
            async with connector():
                pass

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["127.0.0.1:1883", "http://host", "mqtt://", "mqtt://host:port"])
def test_a_bad_url_says_what_is_right(url: str) -> None:
    with pytest.raises(UserError, match=r"mqtt://host:1883"):
        mqtt_connector(url, client_id="x", subscriptions=[])
