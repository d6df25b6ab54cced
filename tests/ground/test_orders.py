"""Who may do what, on the ground: signatures of people, second signatures, keys that come and go, receipts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ground.api import make_app
from ground.errors import ConflictError, UnknownError
from skyrack import jobfile, orders, receipts, virtual
from skyrack.backhaul import down_topic
from skyrack.errors import UserError
from skyrack.signing import FRAME, ORDER, KeyEntry, KeyRing, Right, SigningKey
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import Frame, Item, Order, Payload, SignedFrame, Telecommand
from skyrack.v1.compute_pb2 import SetDrainRequest
from skyrack.v1.executive_pb2 import MODE_SAFE, SetModeRequest
from skyrack.v1.options_pb2 import STREAM_STATUS


def key(kit: Any, name: str) -> SigningKey:
    return SigningKey.from_seed(kit.seed, name)


def fly(kit: Any, scenario: Callable[[Any], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with kit.fly() as world:
            await world.clock.sleep(60)
            await scenario(world)

    virtual.run(whole)


def drain(kit: Any, order_id: str = "c1", satellite: str = "sat-1") -> Order:
    telecommand = Telecommand(
        command_id=order_id,
        service="compute",
        method="SetDrain",
        request=SetDrainRequest(draining=True).SerializeToString(),
        not_after_seconds=kit.start + 50_000,
        submitter="alice",
    )
    return orders.telecommand_order(satellite, telecommand, signed_seconds=kit.start)


def signed(kit: Any, order: Order, *names: str) -> bytes:
    return orders.sign(order, *(key(kit, name) for name in names)).SerializeToString()


async def over(world: Any, command_id: str) -> Any:
    async def look() -> Any:
        record = await world.ground.telecommand(command_id)
        return record if record.is_final else None

    return await world.until(look)


def commands(world: Any) -> list[str]:
    return [command.command_id for satellite in world.satellites.values() for command in satellite.commands]


async def told(world: Any, name: str) -> str:
    return " | ".join(event.text for event in await world.ground.events(limit=1000) if event.name == name)


def test_the_ground_signs_for_who_has_no_key_and_says_so(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        sent = await world.ground.send("sat-1", "SetDrain", SetDrainRequest(draining=True), submitter="alice")
        assert (await over(world, sent.command_id)).stage == "COMPLETED"
        assert sent.signed_by == "ground for alice"
        job = await world.ground.submit(kit.spec_of(), b"package", job_id="one", submitter="bob")
        assert job.signed_by == "ground for bob"

    fly(kit, scenario)


def test_what_a_person_signed_is_carried_as_it_is(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        desk = world.ground.order_desk
        data = signed(kit, drain(kit), "operator-1")
        for _ in range(2):  # the same again changes nothing
            record = await desk.take(data)
            assert record.signed_by == "operator-1"
            assert record.telecommand.signed_by == "operator-1"
        assert (await over(world, "c1")).stage == "COMPLETED"
        assert commands(world) == ["c1"]
        await world.ground.keep_package(b"package")
        spec = jobfile.submitted(kit.spec_of(), "one", "carol", world.clock.now())
        spec.package_sha256, spec.package_bytes = await world.ground.keep_package(b"package"), len(b"package")
        order = orders.job_order(spec, signed_seconds=world.clock.now())
        assert (await desk.take(signed(kit, order, "operator-2"))).job.signed_by == "operator-2"
        assert (await world.settled("one")).state == "COMPLETED"
        (placement,) = [placement for satellite in world.satellites.values() for placement in satellite.placements]
        assert placement.signed_order == signed(kit, order, "operator-2")

    fly(kit, scenario)


def test_a_person_cancels_with_a_key(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(expected_seconds=3000.0), b"package", job_id="one")
        holder = await world.holder()
        cancel = job_pb2.JobCancel(job_id="one", attempt=1, reason="enough")
        order = orders.cancel_order(
            "x1", "", cancel, signed_seconds=kit.start, not_after_seconds=kit.start + 50_000, submitter="carol"
        )
        await world.ground.order_desk.take(signed(kit, order, "operator-2"))
        await world.clock.sleep(60)
        assert [found.reason for found in holder.cancels] == ["enough"]

    fly(kit, scenario)


@pytest.mark.parametrize(
    ("signers", "change", "words"),
    [
        (("stranger",), {}, "not known here"),
        (("authority",), {}, "without the right"),
        (("sat-1",), {}, "without the right"),
        (("old",), {}, "expired"),
        ((), {}, "carries 0 signatures"),
        (("operator-1",), {"destination": "sat-9"}, "there is no satellite sat-9"),
        (("operator-1",), {"order_id": "c2"}, "are not those of the telecommand"),
        (("operator-1",), {"not_after_seconds": 1.0}, "are not those of the telecommand"),
    ],
)
def test_what_no_satellite_would_obey_is_refused_at_the_door(
    kit: Any, signers: tuple[str, ...], change: dict[str, Any], words: str
) -> None:
    async def scenario(world: Any) -> None:
        world.ground.orders.ring.add(
            KeyEntry("old", key(kit, "old").public, frozenset({Right.COMMAND}), 0.0, kit.start - 1)
        )
        order = drain(kit)
        for name, value in change.items():
            setattr(order, name, value)
        with pytest.raises((UserError, UnknownError)) as caught:
            await world.ground.order_desk.take(signed(kit, order, *signers))
        assert words in str(caught.value)
        assert await world.ground.telecommands() == []

    fly(kit, scenario)


# A second person.


async def critical(world: Any) -> Any:
    return await world.ground.send(
        "sat-1", "SetMode", SetModeRequest(mode=MODE_SAFE), command_id="c1", submitter="alice"
    )


async def approve(kit: Any, world: Any, name: str) -> Any:
    data = await world.ground.order_desk.order_of("c1")
    order, _ = orders.open_order(data)
    return await world.ground.order_desk.approve("c1", key(kit, name).key_id, key(kit, name).sign(ORDER, order.order))


def test_what_is_critical_waits_for_a_second_person(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        record = await critical(world)
        assert record.stage == "NEEDS_SIGNATURE"
        assert "second person" in record.reason
        await world.clock.sleep(600)
        assert commands(world) == []
        for name, words in (("stranger", "not known"), ("authority", "without the right")):
            with pytest.raises(UserError, match=words):
                await approve(kit, world, name)
        with pytest.raises(UserError, match="the signature is not one"):
            await world.ground.order_desk.approve("c1", key(kit, "operator-1").key_id, bytes(64))
        assert (await approve(kit, world, "ground")).telecommand.stage == "NEEDS_SIGNATURE"
        assert (await approve(kit, world, "operator-1")).signed_by == "ground for alice, operator-1"
        done = await over(world, "c1")
        assert done.stage == "COMPLETED"
        assert [stage.stage for stage in done.stages][:2] == ["NEEDS_SIGNATURE", "QUEUED"]
        assert commands(world) == ["c1"]
        with pytest.raises(ConflictError, match="needs no signature"):
            await approve(kit, world, "operator-2")

    fly(kit, scenario)


def test_two_people_who_signed_before_need_not_wait(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        telecommand = Telecommand(
            command_id="c1",
            service="executive",
            method="SetMode",
            request=SetModeRequest(mode=MODE_SAFE).SerializeToString(),
            not_after_seconds=kit.start + 50_000,
        )
        order = orders.telecommand_order("sat-1", telecommand, signed_seconds=kit.start)
        await world.ground.order_desk.take(signed(kit, order, "operator-1", "operator-2"))
        assert (await over(world, "c1")).stage == "COMPLETED"

    fly(kit, scenario)


def test_what_waits_for_a_signature_can_be_withdrawn_and_expires(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await critical(world)
        await world.ground.command_desk.withdraw("c1", "alice")
        assert (await world.ground.telecommand("c1")).stage == "WITHDRAWN"
        late = await world.ground.send("sat-1", "SetMode", SetModeRequest(mode=MODE_SAFE), lifetime_seconds=100)
        await world.clock.sleep(2000)
        assert (await world.ground.telecommand(late.command_id)).stage == "EXPIRED"

    fly(kit, scenario)


# Keys.


def next_list(world: Any, *, without: str = "", also: tuple[KeyEntry, ...] = ()) -> KeyRing:
    ring = KeyRing(entry for entry in world.ground.orders.ring if entry.name != without)
    for entry in also:
        ring.add(entry)
    ring.version = world.ground.orders.ring.version + 1
    return ring


async def replace_keys(kit: Any, world: Any, ring: KeyRing, signer: str = "authority") -> Any:
    order = orders.key_list_order(f"keys-{ring.version}", ring.to_message(), signed_seconds=kit.start)
    return (await world.ground.order_desk.take(signed(kit, order, signer))).keys


def test_a_revoked_key_is_believed_nowhere(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any) -> None:
        world.ground.keyring_file = tmp_path / "keys.json"
        record = await replace_keys(kit, world, next_list(world, without="operator-1"))
        assert record.version == 2
        assert record.revoked == (key(kit, "operator-1").key_id,)

        async def all_answered() -> Any:
            satellites = (await world.ground.order_desk.keys()).satellites
            return all(satellite.answer == "COMPLETED" for satellite in satellites)

        await world.until(all_answered)
        assert [satellite.believed.version for satellite in world.satellites.values()] == [2, 2]
        assert KeyRing.load(tmp_path / "keys.json").version == 2
        with pytest.raises(UserError, match="has been revoked"):
            await world.ground.order_desk.take(signed(kit, drain(kit), "operator-1"))
        await world.ground.order_desk.take(signed(kit, drain(kit), "operator-2"))
        assert (await over(world, "c1")).stage == "COMPLETED"
        assert "key list 2, signed by authority" in await told(world, "key_list")

    fly(kit, scenario)


def test_a_satellite_that_was_away_learns_of_new_keys_when_it_is_back(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.is_up = False
        await world.clock.sleep(100)
        new = KeyEntry("operator-3", key(kit, "operator-3").public, frozenset({Right.COMMAND}))
        await replace_keys(kit, world, next_list(world, also=(new,)))
        await world.clock.sleep(2000)
        assert [satellite.believed.version for satellite in world.satellites.values()] == [1, 1]
        world.is_up = True
        await world.clock.sleep(1000)
        assert [satellite.believed.version for satellite in world.satellites.values()] == [2, 2]

    fly(kit, scenario)


@pytest.mark.parametrize(
    ("without", "signer", "words"),
    [
        ("operator-1", "operator-2", "without the right"),
        ("operator-1", "ground", "without the right"),
        ("authority", "authority", "right authority"),
        ("ground", "authority", "right relay"),
    ],
)
def test_a_list_that_nobody_could_live_with_is_refused(kit: Any, without: str, signer: str, words: str) -> None:
    async def scenario(world: Any) -> None:
        with pytest.raises(UserError, match=words):
            await replace_keys(kit, world, next_list(world, without=without), signer)
        assert world.ground.orders.ring.version == 1

    fly(kit, scenario)


def test_the_ground_does_not_cut_itself_off(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        other = KeyEntry("another ground", key(kit, "another ground").public, frozenset({Right.RELAY}))
        with pytest.raises(UserError, match="without this ground's key"):
            await replace_keys(kit, world, next_list(world, without="ground", also=(other,)))

    fly(kit, scenario)


# What satellites say.


def test_a_result_comes_with_a_receipt_that_anybody_can_verify(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        record = await world.settled("one")
        assert record.is_verified
        receipt = await world.ground.order_desk.receipt("one")
        assert receipt["result_sha256"] == record.result_sha256
        assert receipt["energy_joules"] == record.energy_joules == 1234.0
        found: Any = receipt["signature"]
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(found["public_key"]))
        message = b"skyrack receipt 1\0" + bytes.fromhex(found["receipt"])
        public.verify(bytes.fromhex(found["signature"]), message)
        with pytest.raises(UnknownError):
            await world.ground.order_desk.receipt("none")

    fly(kit, scenario)


def _without(status: job_pb2.JobStatus, _: SigningKey) -> None:
    receipts.strip(status)


def _of_another(status: job_pb2.JobStatus, other: SigningKey) -> None:
    receipts.attach(status, other)


def _more_joules(status: job_pb2.JobStatus, _: SigningKey) -> None:
    status.energy_joules += 1


def _another_result(status: job_pb2.JobStatus, _: SigningKey) -> None:
    status.result_sha256 = bytes(32)


def _forged(status: job_pb2.JobStatus, _: SigningKey) -> None:
    status.receipt_signature = bytes(64)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without, "gave no receipt"),
        (_of_another, "was signed by"),
        (_more_joules, "says otherwise of energy_joules"),
        (_another_result, "says otherwise of result_sha256"),
        (_forged, "the signature is not one of"),
    ],
)
def test_a_result_without_a_valid_receipt_is_refused(kit: Any, spoil: Callable[..., None], words: str) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        holder = await world.holder()
        placement = holder.placements[0]
        await holder.status(placement, 1, job_pb2.JOB_STATE_ACCEPTED)
        await holder.status(placement, 2, job_pb2.JOB_STATE_RUNNING)
        status = job_pb2.JobStatus(
            job_id="one",
            attempt=1,
            version=3,
            state=job_pb2.JOB_STATE_COMPLETED,
            satellite=holder.name,
            result_sha256=b"x" * 32,
            result_bytes=10,
            package_sha256=placement.spec.package_sha256,
            energy_joules=5.0,
        )
        receipts.attach(status, key(kit, holder.name))
        other = next(name for name in kit.names if name != holder.name)
        spoil(status, key(kit, other))
        await holder.send(STREAM_STATUS, job_status=status)
        await world.clock.sleep(60)
        record = await world.ground.job("one")
        assert record.state != "COMPLETED"
        assert not record.is_verified
        assert record.result_sha256 == ""
        assert any("its result is refused" in step.reason and words in step.reason for step in record.history)
        assert words in await told(world, "job_receipt_refused")

    fly(kit, scenario)


def test_a_satellite_that_claims_anothers_name_is_not_heard(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        frame = Frame(source="sat-1", destination="ground", incarnation=99, frame_sequence=1, epoch=99)
        frame.stream = STREAM_STATUS
        status = job_pb2.JobStatus(job_id="one", attempt=1, version=1, state=job_pb2.JOB_STATE_COMPLETED)
        frame.items.append(Item(sequence=1, payload=Payload(job_status=status).SerializeToString()))
        data = frame.SerializeToString()
        thief = key(kit, "sat-2")
        sealed = SignedFrame(frame=data, signature=thief.sign(FRAME, data), key_id=thief.key_id)
        async with world.hub.connector("thief", [])() as backhaul:
            await backhaul.publish(down_topic("sat-1", "status"), sealed.SerializeToString())
            await world.clock.sleep(60)
        assert "sat-2 signed a frame in the name of 'sat-1'" in await told(world, "frame_refused")

    fly(kit, scenario)


# Over HTTP.


def test_orders_signatures_keys_and_receipts_over_http(kit: Any) -> None:
    async def whole() -> None:
        async with kit.fly(rate=600.0) as world:
            transport = httpx.ASGITransport(make_app(world.ground, "test"))
            async with httpx.AsyncClient(transport=transport, base_url="http://ground") as http:
                data = signed(kit, drain(kit), "operator-1")
                brought = await http.put("/v1/orders/c1", content=data)
                assert brought.status_code == 200, brought.text
                assert brought.json()["telecommand"]["signed_by"] == "operator-1"
                assert (await http.put("/v1/orders/c2", content=data)).status_code == 422
                assert (await http.put("/v1/orders/c1", content=b"noise")).status_code == 422
                submission = {"satellite": "sat-1", "method": "SetMode", "arguments": {"mode": "safe"}}
                sent = (await http.put("/v1/telecommands/m1", json=submission)).json()
                assert sent["stage"] == "NEEDS_SIGNATURE"
                order, _ = orders.open_order((await http.get("/v1/orders/m1")).content)
                person = key(kit, "operator-1")
                body = {"key_id": person.key_id, "signature": person.sign(ORDER, order.order).hex()}
                approved = await http.post("/v1/orders/m1/signatures", json=body)
                assert approved.json()["telecommand"]["stage"] != "NEEDS_SIGNATURE"
                again = await http.post("/v1/orders/m1/signatures", json=body)
                assert again.status_code == 409
                assert (await http.get("/v1/orders/none")).status_code == 404
                assert (await http.get("/v1/keys")).json()["version"] == 1
                assert (await http.get("/v1/jobs/none/receipt")).status_code == 404

    asyncio.run(whole())
