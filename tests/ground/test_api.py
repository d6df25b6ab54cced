"""The HTTP interface, through the front door, in process."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ground.api import make_app

PACKAGE = b"a package"
JOB = {
    "name": "digits",
    "command": ["python3", "train.py"],
    "resources": {"power_watts": 300, "expected_seconds": 60},
    "package_sha256": hashlib.sha256(PACKAGE).hexdigest(),
    "package_bytes": len(PACKAGE),
}


def talking(kit: Any, scenario: Callable[[Any, httpx.AsyncClient], Awaitable[None]], rate: float = 600.0) -> None:
    async def whole() -> None:
        async with kit.fly(rate=rate) as world:
            transport = httpx.ASGITransport(make_app(world.ground, "test"))
            async with httpx.AsyncClient(transport=transport, base_url="http://ground") as http:
                await scenario(world, http)

    asyncio.run(whole())


async def put_job(http: httpx.AsyncClient, job_id: str, **values: Any) -> httpx.Response:
    assert (await http.put(f"/v1/packages/{JOB['package_sha256']}", content=PACKAGE)).status_code == 204
    return await http.put(f"/v1/jobs/{job_id}", json=JOB | values)


def test_a_job_from_submission_to_result(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        for _ in range(2):
            response = await put_job(http, "one")
            assert response.status_code == 200, response.text
        record = response.json()
        while not (record["is_final"] and record["result_received_seconds"]):
            params = {"after_revision": record["revision"], "wait_seconds": 20}
            before = record["revision"]
            record = (await http.get("/v1/jobs/one", params=params)).json()
            assert record["revision"] > before
        assert record["state"] == "COMPLETED"
        assert record["history"][0]["state"] == "SUBMITTED"
        result = await http.get("/v1/jobs/one/result")
        assert hashlib.sha256(result.content).hexdigest() == record["result_sha256"]
        (listed,) = (await http.get("/v1/jobs")).json()
        assert listed["job_id"] == "one"
        cancelled = await http.post("/v1/jobs/one/cancel", json={})
        assert cancelled.json()["state"] == "COMPLETED"

    talking(kit, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/v1/jobs/nothing", None, 404, "there is no job nothing"),
        ("GET", "/v1/jobs/nothing/result", None, 404, "there is no job nothing"),
        ("POST", "/v1/jobs/nothing/cancel", {}, 404, "there is no job nothing"),
        ("GET", "/v1/satellites/sat-7/telemetry", None, 404, "there is no satellite sat-7; did you mean"),
        ("GET", "/v1/events?satellite=sat-7", None, 404, "there is no satellite sat-7; did you mean"),
        ("GET", "/v1/telecommands/x", None, 404, "there is no telecommand x"),
        ("GET", "/v1/nowhere", None, 404, "Not Found"),
        ("GET", "/v1/jobs?limit=0", None, 422, "limit: Input should be greater than or equal to 1"),
        ("GET", "/v1/events?severity=loud", None, 422, 'severity is "loud", must be one of DEBUG'),
        ("PUT", "/v1/jobs/a", JOB, 422, "its package is not here; send it first"),
        ("PUT", "/v1/jobs/a", JOB | {"priority": 1000}, 422, "priority: Input should be less than or equal to 100"),
        ("PUT", "/v1/jobs/a", JOB | {"colour": "red"}, 422, "colour: Extra inputs are not permitted"),
        ("PUT", "/v1/jobs/a%20b", JOB, 422, 'id "a b" must be letters'),
        ("PUT", "/v1/jobs/a", JOB | {"resources": {"power_watts": 1e6}}, 422, "the largest rack node has 700"),
        ("PUT", "/v1/telecommands/c", {"satellite": "sat-1", "method": "Explode"}, 422, "there is no command Explode"),
        (
            "PUT",
            "/v1/telecommands/c",
            {"satellite": "sat-1", "method": "SetPump", "arguments": {"duty_ratio": "7"}},
            422,
            "duty_ratio is 7: must be a number from 0 to 1",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    kit: Any, method: str, path: str, body: Any, status: int, detail: str
) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        response = await http.request(method, path, json=body)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert detail in problem["detail"]
        assert problem["status"] == status
        assert (await http.get("/v1/jobs")).json() == []

    talking(kit, scenario)


def test_a_package_must_be_what_its_name_says(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        response = await http.put(f"/v1/packages/{'0' * 64}", content=b"else")
        assert response.status_code == 422
        assert "the package's SHA-256 is" in response.json()["detail"]
        assert (await put_job(http, "one")).status_code == 200
        assert (await put_job(http, "one", priority=3)).status_code == 409

    talking(kit, scenario)


def test_a_full_disk_is_no_fault_of_the_client(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: bytes) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(world.ground.vault, "put", full)
            response = await http.put(f"/v1/packages/{JOB['package_sha256']}", content=PACKAGE)
            assert response.status_code == 503
            assert "No space left" in response.json()["detail"]
        assert (await put_job(http, "one")).status_code == 200
        # A result that cannot be written now is written later.
        with monkeypatch.context() as patch:
            patch.setattr(world.ground.vault, "put", full)
            while not world.ground.counters.storage_errors:
                await world.clock.sleep(60)
        await world.settled("one")

    talking(kit, scenario)


def test_a_stranger_page_cannot_reach_it_through_a_name(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        response = await http.get("/v1/jobs", headers={"host": "evil.example"})
        assert response.status_code == 400

    talking(kit, scenario)


@pytest.mark.parametrize("host", ["192.0.2.7", "::1"])
def test_it_answers_under_the_address_at_which_it_listens(kit: Any, host: str) -> None:
    async def whole() -> None:
        async with kit.fly() as world:
            transport = httpx.ASGITransport(make_app(world.ground, "test", host))
            named = f"[{host}]" if ":" in host else host
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{named}:8080") as http:
                assert (await http.get("/health")).status_code == 200

    asyncio.run(whole())


def test_satellites_telemetry_events_commands_and_metrics(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        body = {"satellite": "sat-1", "method": "SetLoadSwitch", "arguments": {"load": "node-1", "closed": "yes"}}
        record = (await http.put("/v1/telecommands/c1", json=body)).json()
        while not record["is_final"]:
            params = {"after_revision": record["revision"], "wait_seconds": 20}
            record = (await http.get("/v1/telecommands/c1", params=params)).json()
        assert record["stage"] == "COMPLETED"
        assert record["arguments"] == 'load: "node-1" closed: true'
        assert [r["command_id"] for r in (await http.get("/v1/telecommands")).json()] == ["c1"]
        values: list[dict[str, Any]] = []
        while not values:
            values = (await http.get("/v1/satellites/sat-1/telemetry")).json()
            await asyncio.sleep(0)
        charge = next(value for value in values if value["field"] == "PowerStatus.state_of_charge_ratio")
        assert charge["unit"] == "ratio"
        assert charge["level"] == "nominal"
        assert charge["value"] == pytest.approx(0.8)
        assert [satellite["name"] for satellite in (await http.get("/v1/satellites")).json()] == ["sat-1", "sat-2"]
        await world.ground.endpoint.receive(b"garbage")
        found = (await http.get("/v1/events", params={"after_id": 0, "wait_seconds": 20})).json()
        assert found[0]["name"] == "frame_refused"
        text = (await http.get("/metrics")).text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert families["skyrack_ground_connected"].samples[0].value == 1
        assert families["skyrack_power_status_state_of_charge_ratio"].samples
        assert all(family.documentation for family in families.values())
        assert (await http.get("/health")).json()["status"] == "ok"
        assert families["skyrack_ground_block_repeated_bytes"].samples[0].value == 0
        told = (await http.get("/v1/ledger")).json()
        assert told["sent"]
        assert told["blocks"]["resumed_bytes"] == 0

    talking(kit, scenario)


def test_who_waits_is_let_go_when_the_ground_closes(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        request = asyncio.create_task(http.get("/v1/events", params={"after_id": 10_000, "wait_seconds": 60}))
        await world.clock.sleep(60)
        world.ground.closing()
        async with asyncio.timeout(5):
            assert (await request).json() == []

    talking(kit, scenario)


def test_lists_come_in_pages_that_nothing_moves(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        for number in range(5):
            assert (await put_job(http, f"job-{number}", name="even" if number % 2 == 0 else "odd")).status_code == 200
        seen: list[str] = []
        link = "/v1/jobs?limit=2"
        while link:
            page = await http.get(link)
            seen = [job["job_id"] for job in page.json()] + seen
            await put_job(http, f"later-{len(seen)}")  # what comes meanwhile moves nothing
            link = page.links.get("next", {}).get("url", "")
        assert seen == [f"job-{number}" for number in range(5)]
        for cursor in ("x", "bm8=", "WzEsMl0="):
            refused = await http.get("/v1/jobs", params={"cursor": cursor})
            assert refused.status_code == 422
            assert "cursor: this is none" in refused.json()["detail"]

    talking(kit, scenario, rate=1.0)


def test_jobs_are_found_by_state_submitter_satellite_and_time(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        record = (await put_job(http, "one")).json()
        await world.settled("one")

        async def found(**params: Any) -> list[str]:
            return [job["job_id"] for job in (await http.get("/v1/jobs", params=params)).json()]

        at = record["submitted_seconds"]
        satellite = (await http.get("/v1/jobs/one")).json()["satellite"]
        for params in (
            {"state": "completed"},
            {"submitter": record["submitter"]},
            {"satellite": satellite},
            {"submitted_from_seconds": at, "submitted_until_seconds": at + 1},
        ):
            assert await found(**params) == ["one"], params
        for params in (
            {"state": "RUNNING"},
            {"submitter": "somebody else"},
            {"satellite": "sat-9"},
            {"submitted_from_seconds": at + 1},
            {"submitted_until_seconds": at},
        ):
            assert await found(**params) == [], params
        assert "must be one of SUBMITTED" in (await http.get("/v1/jobs?state=LOST")).json()["detail"]

    talking(kit, scenario)
