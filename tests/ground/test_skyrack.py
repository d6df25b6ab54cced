"""The client for asyncio: a newcomer's way through, and what it does when the ground is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from ground.client import Address, GroundError, Skyrack, UnreachableError
from skyrack.archive import Entry, pack
from skyrack.errors import UserError
from skyrack.orders import open_order
from skyrack.signing import KeyEntry, SigningKey
from skyrack.v1.backhaul_pb2 import SignedOrder

JOB = 'name = "digits"\ncommand = ["python3", "train.py"]\n[resources]\npower_watts = 300\nexpected = "60 s"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "job"
    made.mkdir()
    (made / "train.py").write_text("print('hello')\n")
    (made / "job.toml").write_text(JOB)
    return made


def live(kit: Any, tmp_path: Path, scenario: Callable[[Any, Address], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with kit.fly(rate=600.0) as world, kit.serve(world, tmp_path) as address, asyncio.timeout(80):
            await scenario(world, address)

    asyncio.run(whole())


def test_a_newcomers_way_from_python_alone(kit: Any, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "accuracy.json").write_text('{"accuracy": 0.97}')
    result = pack([Entry("accuracy.json", tmp_path / "accuracy.json")], 10_000)

    async def scenario(world: Any, address: Address) -> None:
        for satellite in world.satellites.values():
            satellite.result = result
        async with Skyrack(str(address)) as sky:
            job = await sky.submit(folder, job_id="mine", priority=60)
            assert (await sky.submit(folder, job_id="mine", priority=60)).job_id == "mine", "the same again"
            assert job.priority == 60
            states = [step.state async for step in sky.watch(job)]
            assert states[0] == "SUBMITTED"
            assert states[-1] == "COMPLETED"
            (path,) = [path for path in await sky.fetch(job, tmp_path / "out") if path.name == "accuracy.json"]
            assert path.read_text() == '{"accuracy": 0.97}'
            assert [record.name for record in await sky.sats()] == list(kit.names)
            assert any(value.field.endswith("state_of_charge_ratio") for value in await sky.telemetry("sat-1"))
            command = await sky.completed(await sky.send("sat-1", "SetLoadSwitch", load="node-1", closed=False))
            assert (command.stage, command.arguments) == ("COMPLETED", 'load: "node-1" closed: false')
            assert [record.job_id for record in await sky.jobs(state="COMPLETED")] == ["mine"]
            assert (await sky.cancel("mine")).state == "COMPLETED"
            await world.ground.endpoint.receive(b"garbage")
            async for event in sky.events(follow=True):
                if event.name == "frame_refused":
                    break

    live(kit, tmp_path, scenario)


def test_what_is_wrong_is_said_in_a_sentence(kit: Any, tmp_path: Path, folder: Path) -> None:
    async def scenario(world: Any, address: Address) -> None:
        async with Skyrack(str(address)) as sky:
            with pytest.raises(GroundError, match="there is no job nothing"):
                await sky.job("nothing")
            with pytest.raises(UserError, match='a job has no prioritty to be changed; did you mean "priority"'):
                await sky.submit(folder, prioritty=3)
            with pytest.raises(UserError, match="priority: 'high' is not right for it"):
                await sky.submit(folder, priority="high")
            with pytest.raises(GroundError, match="duty_ratio is 7"):
                await sky.send("sat-1", "SetPump", duty_ratio=7)
        async with Skyrack(address.url, token="wrong") as stranger:
            with pytest.raises(GroundError, match="over or revoked; show a token with SKYRACK_TOKEN"):
                await stranger.sats()

    live(kit, tmp_path, scenario)


def test_what_a_person_signs_is_signed_here(kit: Any, tmp_path: Path, folder: Path) -> None:
    key = tmp_path / "operator-1.key"
    private = SigningKey.from_seed(kit.seed, "operator-1")._private
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    async def scenario(world: Any, address: Address) -> None:
        async with Skyrack(str(address), key=key) as sky:
            job = await sky.submit(folder, job_id="mine", priority=60)
            assert (job.job_id, job.priority) == ("mine", 60)
            assert job.signed_by.startswith("operator-1")
            command = await sky.send("sat-1", "SetLoadSwitch", load="node-1", closed=False)
            assert (await sky.completed(command)).stage == "COMPLETED"
            assert (await sky.cancel("mine", "not needed")).job_id == "mine"

    live(kit, tmp_path, scenario)


def answering(*answers: int | Exception) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    asked: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found, json=[] if found == 200 else {"detail": "the disk is full"})

    return httpx.MockTransport(answer), asked


def test_it_asks_again_while_nobody_answers() -> None:
    async def whole() -> None:
        transport, asked = answering(httpx.ConnectError("refused"), 503, 200)
        async with Skyrack("http://ground", transport=transport) as sky:
            assert await sky.sats() == []
        assert len(asked) == 3
        transport, _ = answering(httpx.ConnectError("refused"))
        async with Skyrack("http://ground", transport=transport, patience_seconds=0.3) as sky:
            with pytest.raises(UnreachableError, match="start it with `skyrack up`"):
                await sky.sats()
        transport, asked = answering(503)
        async with Skyrack("http://ground", transport=transport, patience_seconds=0.3) as sky:
            with pytest.raises(GroundError, match="the disk is full"):
                await sky.sats()
        transport, asked = answering(422)
        async with Skyrack("http://ground", transport=transport) as sky:
            with pytest.raises(GroundError):
                await sky.sats()
        assert len(asked) == 1, "what was refused is not asked again"

    asyncio.run(whole())


def test_an_address_may_hold_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYRACK_TOKEN", raising=False)
    sky = Skyrack("http://127.0.0.1:8080/?token=abc%2F")
    assert (sky.address.url, sky.address.token) == ("http://127.0.0.1:8080", "abc/")
    assert str(sky.address) == "http://127.0.0.1:8080/?token=abc%2F"
    monkeypatch.setenv("SKYRACK_TOKEN", "def")
    assert Skyrack("http://127.0.0.1:8080").address.token == "def"
    assert Skyrack("http://127.0.0.1:8080", token="ghi").address.token == "ghi"


def test_a_second_person_signs_what_was_shown(kit: Any, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.key" for name in ("operator-1", "operator-2")}

    async def scenario(world: Any, address: Address) -> None:
        ring = world.ground.orders.ring
        for name, path in paths.items():
            entry = next(entry for entry in ring if entry.name == name)
            ring.add(KeyEntry(name, SigningKey.load_or_create(path).public, entry.rights))
        async with (
            Skyrack(str(address)) as guest,
            Skyrack(str(address), key=paths["operator-1"]) as first,
            Skyrack(str(address), key=paths["operator-2"]) as second,
        ):
            waits = await first.send("sat-1", "SetMode", mode="safe", command_id="night-1")
            assert waits.stage == "NEEDS_SIGNATURE"
            shown = await second.order("night-1")
            assert open_order(shown.SerializeToString())[1].telecommand.method == "SetMode"
            with pytest.raises(UserError, match="a key of one's own"):
                await guest.approve(shown)
            with pytest.raises(GroundError, match="not one of operator-2"):
                await second.approve(
                    SignedOrder(order=shown.order + bytes((0xF8, 0x7F, 1)), signatures=shown.signatures)
                )
            approved = await second.approve(shown)
            assert approved.signed_by == "operator-1, operator-2"
            assert approved.telecommand is not None
            assert approved.telecommand.stage != "NEEDS_SIGNATURE"
            assert (await first.bring(shown)).order_id == "night-1", "the same again changes nothing"
            found = await guest.keys()
            assert {"operator-1", "operator-2", "ground"} <= {key.name for key in found.keys}
            with pytest.raises(GroundError, match="no receipt of a job none"):
                await guest.receipt("none")

    live(kit, tmp_path, scenario)
