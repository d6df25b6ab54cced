"""Malformed requests by the thousand: whatever comes, the answer is one that the OpenAPI declares."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from ground.client import Address

EXAMPLES = 8
# It never ends.
ENDLESS = {"/v1/stream"}


@pytest.fixture(scope="module")
def served(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A ground behind a real server, in a thread of its own."""
    ready = threading.Event()
    found: list[Address] = []
    stop: list[Any] = []

    async def whole(directory: Path) -> None:
        leave = asyncio.Event()
        stop.extend((asyncio.get_running_loop(), leave))
        async with kit.fly() as world, kit.serve(world, directory) as address:
            found.append(address)
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=lambda: asyncio.run(whole(tmp_path_factory.mktemp("fuzz"))), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield found[0]
    loop, leave = stop
    loop.call_soon_threadsafe(leave.set)
    thread.join(30)


def shown(address: Address) -> dict[str, str]:
    return {"Authorization": f"Bearer {address.token}"}


def test_whatever_comes_is_answered_as_declared(served: Address) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=shown(served))
    asked = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result.err()
        operation = result.ok()
        if operation.path in ENDLESS:
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            if case.query and "wait_seconds" in case.query:
                case.query["wait_seconds"] = 0
            response = case.call(headers=shown(served))
            checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
            case.validate_response(response, checks=checks, headers=shown(served))
            if response.status_code >= 400:
                assert response.headers["content-type"][0] == "application/problem+json"
                assert {"type", "title", "status", "detail"} == set(response.json())

        ask()
    assert asked > 100


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"", "application/json", 422),
        (b"[1]", "application/json", 422),
        (b'{"reason": NaN}', "application/json", 422),
        (b'{"reason": "\\ud800"}', "application/json", 422),
        (b'{"reason": "x"}', "text/plain", 422),
        (b"reason=x", "application/x-www-form-urlencoded", 422),
        (b'{"reason": "' + b"x" * (2 << 20) + b'"}', "application/json", 413),
        (b"[" * 100_000, "application/json", 422),
    ],
)
def test_bodies_that_are_none(served: Address, content: bytes, kind: str, status: int) -> None:
    headers = shown(served) | {"Content-Type": kind}
    for body in (content, iter([content])):  # with its length declared, and without
        answer = httpx.post(f"{served.url}/v1/jobs/x/cancel", content=body, headers=headers, trust_env=False)
        assert answer.status_code in (status, 400), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_numbers_that_are_none(served: Address) -> None:
    for text in ("NaN", "Infinity", "-1", "1e999", '"x"', "null"):
        body = f'{{"name": "x", "role": "viewer", "lifetime_seconds": {text}}}'
        headers = shown(served) | {"Content-Type": "application/json"}
        answer = httpx.post(f"{served.url}/v1/tokens", content=body, headers=headers, trust_env=False)
        assert answer.status_code == 422, text
