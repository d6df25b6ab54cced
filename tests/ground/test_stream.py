"""What changes, live: server-sent events over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ground.api.stream import Filter, news
from ground.client import Address, GroundError, Skyrack
from ground.telemetry.alarms import Point
from skyrack.v1.common_pb2 import SEVERITY_WARNING


def live(kit: Any, tmp_path: Path, scenario: Callable[[Any, Address], Awaitable[None]], rate: float = 600.0) -> None:
    async def whole() -> None:
        async with kit.fly(rate=rate) as world, kit.serve(world, tmp_path) as address, asyncio.timeout(60):
            await scenario(world, address)

    asyncio.run(whole())


def test_a_job_is_seen_to_move_as_it_moves(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address) -> None:
        async with Skyrack(str(address)) as sky:
            seen = []
            changes = sky.changes("job", "satellite")
            assert (await anext(changes)).value.name == "sat-1"
            await world.ground.submit(kit.spec_of(), b"p", job_id="mine")
            async for change in changes:
                if change.kind != "job":
                    continue
                seen.append(change.value.state)
                if change.value.is_settled:
                    break
            assert seen[-1] == "COMPLETED"
            assert "RUNNING" in seen

    live(kit, tmp_path, scenario, rate=300.0)


def test_an_alarm_is_told_and_what_people_do_with_it(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address) -> None:
        alarms, now = world.ground.telemetry_service.alarms, world.clock.now
        for satellite in ("sat-1", "sat-2"):
            alarms.condition(Point(satellite, "test"), SEVERITY_WARNING, "it is only a test", now(), is_on=True)
        alarms.tick({}, now() + 600)
        await alarms.write(now())
        async with Skyrack(str(address)) as sky:
            changes = sky.changes("alarm", satellite="sat-2")
            first = (await anext(changes)).value
            assert (first.satellite, first.name, first.state) == ("sat-2", "test", "active")
            await sky.acknowledge(first.id, "seen")
            async for change in changes:
                assert change.value.id == first.id
                if change.value.state == "acknowledged":
                    break

    live(kit, tmp_path, scenario)


def test_who_comes_back_goes_on_where_he_was(kit: Any, tmp_path: Path) -> None:
    async def first(address: Address, params: dict[str, str], headers: dict[str, str]) -> tuple[str, str, Any]:
        headers = headers | {"Authorization": f"Bearer {address.token}"}
        async with (
            httpx.AsyncClient(base_url=address.url, trust_env=False) as http,
            http.stream("GET", "/v1/stream", params=params, headers=headers) as response,
        ):
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            found: dict[str, str] = {}
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                found[name] = value
                if not line and "data" in found:
                    return found["event"], found["id"], json.loads(found["data"])
        raise AssertionError("the stream ended")

    async def scenario(world: Any, address: Address) -> None:
        world.silence()
        for name in ("a", "b"):
            await world.ground.submit(kit.spec_of(), b"p", job_id=name)
        kind, place, record = await first(address, {"kinds": "job"}, {"Last-Event-ID": "job:0"})
        assert kind == "job"
        assert place == f"job:{record['revision']}"
        _, later, record = await first(address, {"kinds": "job"}, {"Last-Event-ID": place})
        assert later == f"job:{record['revision']}"
        assert record["revision"] > int(place.partition(":")[2])
        # A satellite is told of at once; a place that is nonsense is the present.
        kind, _, record = await first(address, {"kinds": "satellite,job", "satellite": "sat-2"}, {"Last-Event-ID": "x"})
        assert (kind, record["name"]) == ("satellite", "sat-2")

    live(kit, tmp_path, scenario, rate=1.0)


def test_what_cannot_be_streamed_is_refused_before_it_begins(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address) -> None:
        async with Skyrack(str(address)) as sky:
            for kinds, satellite, sentence in (
                ("jobs", "", 'there is no "jobs"'),
                ("job", "sat-9", "there is no satellite sat-9"),
            ):
                with pytest.raises(GroundError, match=sentence):
                    await anext(sky.changes(kinds, satellite=satellite))

    live(kit, tmp_path, scenario)


def test_a_reader_who_does_not_read_is_not_remembered(kit: Any) -> None:
    async def whole() -> None:
        async with kit.fly(rate=3000.0) as world:
            world.silence()
            lines = news(world.ground, {"job"}, Filter(), {"job": 0})
            await anext(lines)
            await world.ground.submit(kit.spec_of(), b"p", job_id="mine")
            for _ in range(20):
                await world.ground.cancel("mine")
                await world.clock.sleep(30)
            told = await anext(lines)
            assert b'"state":"CANCELLED"' in told or b'"cancel_requested":true' in told, "only the present is told"
            world.ground.closing()
            assert [line async for line in lines] == []

    asyncio.run(whole())


def test_a_stream_ends_with_its_token(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address) -> None:
        async with Skyrack(str(address)) as admin:
            from ground.client import calls

            made = (await admin.ask(calls.make_token("eve", "viewer", 0))).json()
            async with (
                httpx.AsyncClient(base_url=address.url, trust_env=False, timeout=20) as http,
                http.stream(
                    "GET", "/v1/stream?kinds=satellite", headers={"Authorization": f"Bearer {made['secret']}"}
                ) as response,
            ):
                lines = response.aiter_lines()
                assert await anext(lines)
                await admin.ask(calls.revoke_token(made["token"]["token_id"]))
                async for _ in lines:
                    pass

    live(kit, tmp_path, scenario, rate=1.0)
