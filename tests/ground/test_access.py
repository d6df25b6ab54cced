"""Who gets in, what they may do, and that all of it is written down, over a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.access.roles import Person, Role, person_of, require
from ground.access.sessions import Sessions
from ground.access.throttle import Throttle
from ground.api import make_app
from ground.client import Address, GroundError, Skyrack, calls


def behind(kit: Any, tmp_path: Path, scenario: Callable[[Any, Address, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with (
            kit.fly(rate=60.0) as world,
            kit.serve(world, tmp_path) as address,
            httpx.AsyncClient(base_url=address.url, trust_env=False, timeout=20) as http,
            asyncio.timeout(60),
        ):
            await scenario(world, address, http)

    asyncio.run(whole())


async def token(address: Address, role: str, lifetime_seconds: float = 0.0) -> tuple[str, str]:
    """A new token: its secret and its id."""
    async with Skyrack(str(address)) as admin:
        made = (await admin.ask(calls.make_token(f"the {role}", role, lifetime_seconds))).json()
    return made["secret"], made["token"]["token_id"]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_every_route_says_in_the_openapi_which_role_it_needs(kit: Any) -> None:
    async def whole() -> None:
        async with kit.fly() as world:
            described = make_app(world.ground, "test").openapi()
        ids = []
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                ids.append(operation["operationId"])
                roles = {role for needed in operation.get("security", []) for role in needed.get("token", [])}
                if path in ("/health", "/metrics"):
                    assert not roles
                    continue
                assert len(roles) == 1, f"{method} {path}: one role is needed, not {roles}"
                if method != "get":
                    assert roles != {Role.VIEWER}, f"{method} {path} changes something, and viewers may"
        assert len(ids) == len(set(ids))

    asyncio.run(whole())


def test_nobody_gets_in_without_a_token(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        for path in ("/v1/jobs", "/v1/stream", "/openapi.json", "/docs", "/nowhere", "/v1/audit"):
            refused = await http.get(path)
            assert refused.status_code == 401, path
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert refused.headers["content-type"] == "application/problem+json"
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200  # from this machine
        for wrong in ("", "Bearer", "Bearer x", f"Basic {address.token}", f"Bearer {address.token}x"):
            assert (await http.get("/v1/jobs", headers={"Authorization": wrong})).status_code == 401
        assert (await http.get("/v1/jobs", headers=bearer(address.token))).status_code == 200
        page = await http.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 401
        assert "<form" in page.text

    behind(kit, tmp_path, scenario)


def test_each_role_may_what_it_may(kit: Any, tmp_path: Path) -> None:
    command = {"satellite": "sat-1", "method": "SetPump", "arguments": {"duty_ratio": "0.5", "hold_seconds": "60"}}

    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        asked: list[tuple[str, str, Any, str]] = [
            ("GET", "/v1/satellites", None, "viewer"),
            ("POST", "/v1/jobs/none/cancel", {}, "researcher"),
            ("PUT", "/v1/telecommands/c", command, "operator"),
            ("GET", "/v1/audit", None, "admin"),
            ("GET", "/v1/tokens", None, "admin"),
            ("POST", "/v1/tokens", {"name": "x", "role": "viewer"}, "admin"),
        ]
        for role in Role:
            secret, _ = await token(address, role)
            me = (await http.get("/v1/me", headers=bearer(secret))).json()
            assert (me["name"], me["role"]) == (f"the {role}", role)
            for method, path, body, needed in asked:
                answer = await http.request(method, path, json=body, headers=bearer(secret))
                if Role(role).rank >= Role(needed).rank:
                    assert answer.status_code in (200, 201, 404), (role, path, answer.text)
                else:
                    assert answer.status_code == 403, (role, path, answer.text)
                    assert f"needs the role {needed}; the {role} is {role}" in answer.json()["detail"]

    behind(kit, tmp_path, scenario)


def test_a_submitter_is_who_the_token_says(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        secret, _ = await token(address, "operator")
        body = {"satellite": "sat-1", "method": "SetLoadSwitch", "arguments": {"load": "node-1", "closed": "yes"}}
        claimed = await http.put("/v1/telecommands/c", json=body | {"submitter": "admiral"}, headers=bearer(secret))
        assert claimed.status_code == 422
        sent = await http.put("/v1/telecommands/c", json=body, headers=bearer(secret))
        assert sent.status_code == 200, sent.text
        assert "the operator" in sent.json()["submitter"]

    behind(kit, tmp_path, scenario)


def test_a_token_ends_when_it_is_over_and_when_it_is_revoked(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        brief, _ = await token(address, "viewer", lifetime_seconds=600)
        long, long_id = await token(address, "viewer")
        assert (await http.get("/v1/me", headers=bearer(brief))).status_code == 200
        async with Skyrack(str(address)) as admin:
            kept = (await admin.ask(calls.tokens())).json()
            assert long not in str(kept), "no secret is told twice"
            await admin.ask(calls.revoke_token(long_id))
            with pytest.raises(GroundError, match="the local token is revoked by removing"):
                await admin.ask(calls.revoke_token(kept[0]["token_id"]))
            with pytest.raises(GroundError, match="there is no token"):
                await admin.ask(calls.revoke_token("nothing"))
        assert (await http.get("/v1/me", headers=bearer(long))).status_code == 401
        await world.clock.sleep(601)
        assert (await http.get("/v1/me", headers=bearer(brief))).status_code == 401

    behind(kit, tmp_path, scenario)


def test_a_browser_signs_in_once_and_cannot_be_used_by_strangers(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        opened = await http.get("/jobs", params={"token": address.token, "open": "1"})
        assert opened.status_code == 303
        assert opened.headers["location"] == "/jobs?open=1"
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert address.token not in cookie
        session = {"Cookie": cookie.partition(";")[0]}
        http.cookies.clear()
        assert (await http.get("/v1/me", headers=session)).status_code == 200
        for origin in ({}, {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "null"}):
            forged = await http.post("/v1/jobs/x/cancel", json={}, headers=session | origin)
            assert forged.status_code == 403, origin
            assert "own pages" in forged.json()["detail"]
        ours = await http.post("/v1/jobs/x/cancel", json={}, headers=session | {"Origin": address.url})
        assert ours.status_code == 404
        bent = {"Cookie": re.sub("=.", "=x", session["Cookie"], count=1)}
        assert (await http.get("/v1/me", headers=bent)).status_code == 401
        # By the page that asks for the token; a wrong one is said to be wrong.
        page = {"Accept": "text/html"}
        wrong = await http.post("/login", data={"token": "guess"}, headers=page)
        assert (wrong.status_code, "the token is wrong" in wrong.text) == (401, True)
        right = await http.post("/login", data={"token": address.token}, headers=page)
        assert (right.status_code, right.headers["location"]) == (303, "/")

    behind(kit, tmp_path, scenario)


def test_a_redirect_stays_here(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        opened = await http.get(f"{address.url}//evil.example/x", params={"token": address.token})
        assert opened.headers["location"] == "/evil.example/x"

    behind(kit, tmp_path, scenario)


def test_who_guesses_is_slowed(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        statuses = [(await http.get("/v1/me", headers=bearer(f"guess-{n}"))).status_code for n in range(30)]
        assert statuses[:19] == [401] * 19
        assert statuses[-1] == 429
        slowed = await http.get("/v1/me", headers=bearer("guess"))
        assert int(slowed.headers["retry-after"]) >= 1
        # Who shares the address is not locked out.
        assert (await http.get("/v1/me", headers=bearer(address.token))).status_code == 200

    behind(kit, tmp_path, scenario)


def test_a_network_of_ipv6_is_one_who_guesses() -> None:
    throttle = Throttle(lambda: 0.0, burst=3)
    for number in range(3):
        throttle.refused(f"2001:db8::{number:x}")
    assert throttle.wait_seconds("2001:db8::ffff") > 0
    assert throttle.wait_seconds("2001:db8:0:1::1") == 0


def test_every_answer_says_how_browsers_must_treat_it(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any, address: Address, http: httpx.AsyncClient) -> None:
        for path, headers in (("/health", {}), ("/", {}), ("/v1/jobs", bearer(address.token))):
            answer = await http.get(path, headers=headers)
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
        signed_in = await http.get("/", params={"token": address.token})
        assert signed_in.headers["referrer-policy"] == "no-referrer"
        # Nothing that is served brings scripts from elsewhere.
        assert (await http.get("/docs", headers=bearer(address.token))).status_code == 404

    behind(kit, tmp_path, scenario)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 100)), max_size=60))
def test_a_throttle_forgives_in_time_and_each_address_for_itself(steps: list[tuple[str, float]]) -> None:
    now = 0.0
    throttle = Throttle(lambda: now, burst=3, seconds_each=2.0)
    allowed = {"a": 0, "b": 0}
    for address, pause in steps:
        now += pause
        if throttle.wait_seconds(address) == 0:
            allowed[address] += 1
            throttle.refused(address)
    assert all(count <= 3 + now / 2.0 for count in allowed.values())
    now += throttle.wait_seconds("a") + 1e-6
    assert throttle.wait_seconds("a") == 0


@given(st.text(max_size=80))
def test_a_session_that_was_not_made_here_opens_nothing(text: str) -> None:
    assert Sessions(b"1" * 32).token_id(text, 0.0) is None
    assert Sessions(b"1" * 32).token_id(Sessions(b"2" * 32).begin("x", 1e9), 0.0) is None
    made = Sessions(b"1" * 32).begin("abc", 100.0)
    assert Sessions(b"1" * 32).token_id(made, 99.0) == "abc"
    assert Sessions(b"1" * 32).token_id(made, 100.0) is None


def test_nobody_stands_behind_what_the_guard_did_not_see() -> None:
    with pytest.raises(Exception, match="nobody is known"):
        person_of({"state": {}})
    with pytest.raises(Exception, match="needs the role admin; eve is operator"):
        require(Person("eve", Role.OPERATOR), Role.ADMIN)
