"""Whom the gateway obeys, and whom not."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight.gateway import work
from flight.gateway.keys import Believed
from flight.gateway.orders import OrderDesk
from flight.gateway.service import Gateway
from flight.service import Service, command
from skyrack import orders
from skyrack.backhaul import up_topic
from skyrack.delivery import Delivered, RejectItemError
from skyrack.signing import FRAME, KeyEntry, KeyRing, Right, SigningKey, seeded_ring
from skyrack.v1.backhaul_pb2 import (
    Frame,
    Item,
    KeyList,
    Order,
    Payload,
    SignedFrame,
    SignedOrder,
    Telecommand,
    TelecommandStage,
)
from skyrack.v1.common_pb2 import CommandResult, Event
from skyrack.v1.compute_pb2 import SetDrainRequest
from skyrack.v1.executive_pb2 import MODE_SAFE, SetModeRequest
from skyrack.v1.gateway_pb2 import LinkStatus
from skyrack.v1.job_pb2 import JOB_STATE_EXPIRED, JOB_STATE_REJECTED, JobCancel, JobPlacement, JobSpec, JobState
from skyrack.v1.options_pb2 import STREAM_STATUS

_spec = importlib.util.spec_from_file_location("gateway_setup", Path(__file__).with_name("test_gateway_service.py"))
assert _spec is not None
assert _spec.loader is not None
_setup = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_setup)
SATELLITE, START, Compute, place = _setup.SATELLITE, _setup.START, _setup.Compute, _setup.place

SETTLE_SECONDS = 120


class Executive(Service):
    """Stands in for the executive: writes down the modes that it is told."""

    name = "executive"
    asked: ClassVar[list[SetModeRequest]] = []

    @command
    async def set_mode(self, request: SetModeRequest) -> CommandResult:
        self.asked.append(request)
        return CommandResult(ok=True)


def fly(scenario: Callable[[Any], Awaitable[None]], state_dir: Path | None = None) -> None:
    async def prepared(setup: Any) -> None:
        Executive.asked.clear()
        setup.services = ("compute", "executive", "gateway")
        await scenario(setup)

    _setup.fly(prepared, state_dir)


def key(name: str) -> SigningKey:
    return SigningKey.from_seed(1, name)


def drain(
    order_id: str = "c1", *, draining: bool = True, end: float = START + 5000, satellite: str = SATELLITE
) -> Order:
    request = SetDrainRequest(draining=draining).SerializeToString()
    telecommand = Telecommand(
        command_id=order_id, service="compute", method="SetDrain", request=request, not_after_seconds=end
    )
    return orders.telecommand_order(satellite, telecommand, signed_seconds=START, submitter="alice")


def safe_mode(order_id: str = "c1") -> Order:
    request = SetModeRequest(mode=MODE_SAFE).SerializeToString()
    telecommand = Telecommand(
        command_id=order_id, service="executive", method="SetMode", request=request, not_after_seconds=START + 5000
    )
    return orders.telecommand_order(SATELLITE, telecommand, signed_seconds=START, submitter="alice")


def reports(setup: Any, order_id: str = "c1") -> list[tuple[str, str]]:
    kinds = setup.of("telecommand_report"), setup.of("order_report")
    found = [report for kind in kinds for report in kind]
    return [
        (TelecommandStage.Name(report.stage).removeprefix("TELECOMMAND_STAGE_"), report.reason)
        for report in found
        if order_id in (getattr(report, "command_id", ""), getattr(report, "order_id", ""))
    ]


def events(setup: Any) -> list[Event]:
    samples = [sample for batch in setup.of("telemetry") for sample in batch.samples]
    return [Event.FromString(sample.payload) for sample in samples if sample.message_type == "skyrack.v1.Event"]


def told(setup: Any, name: str) -> str:
    return " | ".join(event.text for event in events(setup) if event.name == name)


async def up(setup: Any, payload: Payload) -> None:
    await setup.ground.send(SATELLITE, STREAM_STATUS, payload.SerializeToString())
    await asyncio.sleep(SETTLE_SECONDS)


async def order(setup: Any, wanted: Order, *signers: str) -> None:
    await setup.order(wanted, *signers)
    await asyncio.sleep(SETTLE_SECONDS)


def test_who_may_command_is_obeyed() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Executive, Gateway):
            await order(setup, drain(), "operator-1")
            assert Compute.asked == [SetDrainRequest(draining=True)]
            assert [stage for stage, _ in reports(setup)][-1] == "COMPLETED"

    fly(scenario)


def with_entries(setup: Any, *entries: KeyEntry) -> None:
    for entry in entries:
        setup.board_ring.add(entry)


@pytest.mark.parametrize(
    ("wanted", "signers", "stage", "words"),
    [
        (drain(), ("stranger",), "FAILED", "not known here"),
        (drain(), ("authority",), "FAILED", "without the right"),
        (drain(), (SATELLITE,), "FAILED", "without the right"),
        (drain(), ("researcher",), "FAILED", "without the right"),
        (drain(), ("old",), "FAILED", "expired"),
        (drain(), ("early",), "FAILED", "not valid for another"),
        (drain(), ("revoked",), "FAILED", "has been revoked"),
        (drain(), (), "FAILED", "carries 0 signatures"),
        (drain(end=START - 10), ("operator-1",), "EXPIRED", "ended"),
        (drain(satellite="sky-b"), ("operator-1",), "FAILED", "is for sky-b"),
        (safe_mode(), ("operator-1",), "FAILED", "second person"),
        (safe_mode(), ("ground",), "FAILED", "second person"),
        (safe_mode(), ("operator-1", "stranger"), "FAILED", "not known here"),
    ],
)
def test_who_may_not_is_refused_and_told_so(wanted: Order, signers: tuple[str, ...], stage: str, words: str) -> None:
    async def scenario(setup: Any) -> None:
        command_right = frozenset({Right.COMMAND})
        with_entries(
            setup,
            KeyEntry("researcher", key("researcher").public, frozenset({Right.SUBMIT})),
            KeyEntry("old", key("old").public, command_right, 0.0, START - 1),
            KeyEntry("early", key("early").public, command_right, START + 1e6),
            KeyEntry("revoked", key("revoked").public, command_right),
        )
        setup.board_ring.revoke(key("revoked").key_id)
        async with setup.flying(Compute, Executive, Gateway):
            signed = orders.sign(wanted, *(key(name) for name in signers))
            await up(setup, Payload(order=signed))
            assert Compute.asked == []
            assert Executive.asked == []
            ((found, reason),) = reports(setup)
            assert found == stage
            assert words in reason
            assert words in told(setup, "backhaul_order")
            # It goes on obeying others.
            await order(setup, drain("c2"), "operator-2")
            assert Compute.asked == [SetDrainRequest(draining=True)]

    fly(scenario)


@pytest.mark.parametrize("signers", [("operator-1", "operator-2"), ("ground", "operator-2")])
def test_what_is_critical_is_done_for_two_people(signers: tuple[str, ...]) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Executive, Gateway):
            await order(setup, safe_mode(), *signers)
            assert [request.mode for request in Executive.asked] == [MODE_SAFE]

    fly(scenario)


def test_the_same_key_twice_is_one_person() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Executive, Gateway):
            signed = orders.sign(safe_mode(), key("operator-1"))
            signed.signatures.add().CopyFrom(signed.signatures[0])
            await up(setup, Payload(order=signed))
            assert Executive.asked == []
            assert "only operator-1 has signed" in reports(setup)[0][1]

    fly(scenario)


@pytest.mark.parametrize(
    "payload",
    [
        Payload(telecommand=drain().telecommand),
        Payload(job_cancel=JobCancel(job_id="j1")),
        Payload(job_placement=JobPlacement(spec=JobSpec(job_id="j1"), attempt=1, lease_end_seconds=START + 5000)),
    ],
    ids=["telecommand", "cancel", "job"],
)
def test_a_relay_alone_can_command_nothing(payload: Payload) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            await up(setup, payload)
            assert Compute.asked == []
            assert "that nobody signed" in told(setup, "backhaul_rejected")

    fly(scenario)


def sealed(frame: Frame, signer: str) -> bytes:
    data = frame.SerializeToString()
    signed = SignedFrame(frame=data, signature=key(signer).sign(FRAME, data), key_id=key(signer).key_id)
    return signed.SerializeToString()


@pytest.mark.parametrize(
    ("signer", "source", "words"),
    [
        ("operator-1", "operator-1", "may not send frames as a relay"),
        ("operator-1", "ground", "in the name of 'ground'"),
        (SATELLITE, "ground", "in the name of 'ground'"),
        ("stranger", "ground", "not known here"),
        ("late relay", "late relay", "expired"),
    ],
)
def test_an_order_comes_through_a_relay_or_not_at_all(signer: str, source: str, words: str) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            payload = Payload(order=orders.sign(drain(), key("operator-1"))).SerializeToString()
            late = KeyEntry("late relay", key("late relay").public, frozenset({Right.RELAY}), 0.0, START - 1)
            with_entries(setup, late)
            frame = Frame(source=source, destination=SATELLITE, incarnation=99, frame_sequence=1, epoch=99)
            frame.stream = STREAM_STATUS
            frame.items.append(Item(sequence=1, payload=payload))
            await asyncio.sleep(SETTLE_SECONDS)
            async with setup.hub.connector("broker", [])() as backhaul:
                await backhaul.publish(up_topic(SATELLITE), sealed(frame, signer))
                await asyncio.sleep(SETTLE_SECONDS)
            assert Compute.asked == []
            assert words in told(setup, "backhaul_forged")

    fly(scenario)


def replays(signed: SignedOrder) -> list[SignedOrder]:
    """The same order again: as it was, with its signatures the other way round, and with one of them."""
    turned = SignedOrder(order=signed.order, signatures=reversed(signed.signatures))
    return [signed, turned, SignedOrder(order=signed.order, signatures=signed.signatures[1:])]


@pytest.mark.parametrize("reboots", [False, True], ids=["at once", "after a reboot"])
def test_an_order_is_done_once_whoever_repeats_it(tmp_path: Path, reboots: bool) -> None:
    async def scenario(setup: Any) -> None:
        signed = orders.sign(drain(), key("operator-1"), key("operator-2"))
        async with setup.flying(Compute, Gateway):
            await up(setup, Payload(order=signed))
            for again in [] if reboots else replays(signed):
                await up(setup, Payload(order=again))
        async with setup.flying(Compute, Gateway):
            for again in replays(signed):
                await up(setup, Payload(order=again))
            assert Compute.asked == [SetDrainRequest(draining=True)]
            assert [stage for stage, _ in reports(setup)] == ["ACCEPTED", "STARTED", "COMPLETED"]
            # Another order of the same signer under the same id is none.
            await order(setup, drain(draining=False), "operator-1")
            assert Compute.asked == [SetDrainRequest(draining=True)]
            assert "another order c1 came before" in told(setup, "backhaul_rejected")
            # Of another signer it is: ids are the signers' own.
            await order(setup, drain(draining=False), "operator-2")
            assert Compute.asked[1:] == [SetDrainRequest(draining=False)]

    fly(scenario, tmp_path)


@pytest.mark.parametrize(
    ("deadline", "signer", "state", "words"),
    [
        (0.0, "authority", JOB_STATE_REJECTED, "without the right"),
        (0.0, "stranger", JOB_STATE_REJECTED, "not known here"),
        (START - 1, "ground", JOB_STATE_EXPIRED, "ended"),
    ],
)
def test_a_job_that_is_refused_is_told_to_the_ground(deadline: float, signer: str, state: JobState, words: str) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            spec = JobSpec(job_id="j1", command=["run"], deadline_seconds=deadline)
            signed = orders.sign(orders.job_order(spec, signed_seconds=START), key(signer)).SerializeToString()
            placement = JobPlacement(signed_order=signed, attempt=3, lease_end_seconds=START + 5000)
            await up(setup, Payload(job_placement=placement))
            assert Compute.asked == []
            (status,) = setup.of("job_status")
            assert (status.job_id, status.attempt, status.state) == ("j1", 3, state)
            assert words in status.reason

    fly(scenario)


# Keys that come and go.


def key_list(version: int, *, without: tuple[str, ...] = (), also: tuple[KeyEntry, ...] = ()) -> KeyList:
    ring = KeyRing(entry for entry in seeded_ring(1, [SATELLITE]) if entry.name not in without)
    for entry in also:
        ring.add(entry)
    ring.version = version
    return ring.to_message()


def keys_order(order_id: str, keys: KeyList, destination: str = "") -> Order:
    return orders.key_list_order(order_id, keys, signed_seconds=START, destination=destination)


def versions(setup: Any) -> list[int]:
    samples = [sample for batch in setup.of("telemetry") for sample in batch.samples]
    found = [LinkStatus.FromString(s.payload) for s in samples if s.message_type == "skyrack.v1.LinkStatus"]
    return [status.key_list_version for status in found]


def test_keys_are_revoked_and_rotated_over_the_link_and_after_a_reboot(tmp_path: Path) -> None:
    async def scenario(setup: Any) -> None:
        new_operator = KeyEntry("operator-1", key("new operator-1").public, frozenset({Right.COMMAND}))
        keys = key_list(2, without=("operator-1",), also=(new_operator,))
        async with setup.flying(Compute, Gateway):
            await order(setup, drain("c1"), "operator-1")
            await order(setup, keys_order("k2", keys), "authority")
            assert reports(setup, "k2") == [("COMPLETED", f"version 2 is in force: {len(keys.keys)} keys")]
            await order(setup, drain("c2", draining=False), "operator-1")
            assert "has been revoked" in reports(setup, "c2")[0][1]
        setup.board_ring = seeded_ring(1, [SATELLITE])
        async with setup.flying(Compute, Gateway):
            await order(setup, drain("c3", draining=False), "operator-1")
            assert "has been revoked" in reports(setup, "c3")[0][1]
            assert len(Compute.asked) == 1
            await order(setup, drain("c4", draining=False), "new operator-1")
            assert len(Compute.asked) == 2
            assert versions(setup)[0] == 1
            assert versions(setup)[-1] == 2

    fly(scenario, tmp_path)


def test_the_ground_gets_another_key_over_its_old_one(tmp_path: Path) -> None:
    async def scenario(setup: Any) -> None:
        new = KeyEntry("ground", key("new ground").public, frozenset({Right.RELAY, Right.COMMAND, Right.SUBMIT}))
        async with setup.flying(Compute, Gateway):
            await order(setup, keys_order("k2", key_list(2, also=(new,))), "authority")
            setup.ground.codec._key = key("new ground")
            await order(setup, keys_order("k3", key_list(3, without=("ground",), also=(new,))), "authority")
            await order(setup, drain("c1"), "operator-1")
            assert len(Compute.asked) == 1
            assert reports(setup, "k3")[0][0] == "COMPLETED"
            setup.ground.codec._key = key("ground")
            await order(setup, drain("c2"), "operator-1")
            assert len(Compute.asked) == 1
            assert "has been revoked" in told(setup, "backhaul_forged") or not reports(setup, "c2")

    fly(scenario, tmp_path)


@pytest.mark.parametrize(
    ("keys", "signer", "words"),
    [
        (key_list(2), "operator-1", "without the right"),
        (key_list(2), "ground", "without the right"),
        (key_list(1, without=("operator-1",)), "authority", "version 1 is in force"),
        (key_list(0), "authority", "version 1 is in force"),
        (key_list(2, without=("authority",)), "authority", "without a valid key of right authority"),
        (key_list(2, without=("ground",)), "authority", "without a valid key of right relay"),
        (KeyList(version=2), "authority", "without a valid key"),
    ],
)
def test_a_list_that_would_cut_the_satellite_off_is_refused(
    tmp_path: Path, keys: KeyList, signer: str, words: str
) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            await order(setup, keys_order("k2", keys), signer)
            ((stage, reason),) = reports(setup, "k2")
            assert stage == "FAILED"
            assert words in reason
            await order(setup, drain(), "operator-1")
            assert len(Compute.asked) == 1
            assert not (tmp_path / "keys.json").exists()

    fly(scenario, tmp_path)


def test_the_list_in_force_again_is_acknowledged(tmp_path: Path) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            await order(setup, keys_order("k2", key_list(2)), "authority")
            await order(setup, keys_order("k2 again", key_list(2), SATELLITE), "authority")
            assert reports(setup, "k2 again") == [("COMPLETED", "version 2 is in force already")]

    fly(scenario, tmp_path)


def test_a_damaged_list_gives_way_to_what_was_provisioned(tmp_path: Path) -> None:
    async def scenario(setup: Any) -> None:
        (tmp_path / "keys.json").write_text("{")
        async with setup.flying(Compute, Gateway):
            await order(setup, drain(), "operator-1")
            assert len(Compute.asked) == 1
            assert "not a key ring" in told(setup, "key_list_damaged")

    fly(scenario, tmp_path)


# Bytes that somebody changed on the way, behind the frame's signature: a hostile relay.


class Desk:
    """An order desk over a database in memory."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for step in work.SCHEMA:
            self.connection.executescript(step)
        self.told: list[Payload] = []
        self.now = float(START)
        ring = seeded_ring(1, [SATELLITE])
        self.desk = OrderDesk(
            SATELLITE,
            Believed(SATELLITE, {"signing.ring": ring}, None),
            SimpleNamespace(now=lambda: self.now, rate=1.0),
            lambda _, payload: self.told.append(payload),
        )

    def take(self, data: bytes, sequence: int = 1) -> None:
        item = Delivered("ground", STREAM_STATUS, 1, sequence, data, START, 0.0, key("ground").key_id)
        try:
            self.desk.take(self.connection, item)
        except RejectItemError:
            self.desk.told([item])

    def work(self) -> list[Payload]:
        return [item.payload for item in work.open_work(self.connection, work.TELECOMMAND, work.PLACEMENT, work.CANCEL)]


GOOD = Payload(order=orders.sign(safe_mode(), key("operator-1"), key("operator-2"))).SerializeToString()
JOB: bytes = place("j1").SerializeToString()


@settings(max_examples=300)
@given(st.sampled_from([GOOD, JOB]), st.data())
def test_a_changed_byte_never_changes_what_is_done(good: bytes, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(good) - 1))
    tampered = bytearray(good)
    tampered[index] ^= data.draw(st.integers(1, 255))
    desk = Desk()
    desk.take(bytes(tampered))
    for payload in desk.work():
        if payload.WhichOneof("kind") == "telecommand":
            assert payload.telecommand == safe_mode().telecommand
        else:
            # Attempt and lease are the relay's to say, who signs the frame that they come in.
            assert payload.job_placement.spec == orders.placed_spec(Payload.FromString(JOB).job_placement)


@given(st.sampled_from([GOOD, JOB]), st.floats(0, 1, exclude_max=True))
def test_a_truncated_order_is_not_obeyed(good: bytes, part: float) -> None:
    desk = Desk()
    desk.take(good[: int(len(good) * part)])
    kinds = [payload.WhichOneof("kind") for payload in desk.work()]
    # A placement's last fields are the relay's: what is left of it may be a placement still.
    assert kinds == [] or (good is JOB and kinds == ["job_placement"])


@given(st.binary(max_size=400))
def test_noise_is_not_obeyed(data: bytes) -> None:
    desk = Desk()
    desk.take(data)
    assert desk.work() == []


@given(st.integers(0, 1 << 32))
def test_orders_in_any_order_are_each_obeyed_once(seed: int) -> None:
    rng = random.Random(seed)
    wanted = [Payload(order=orders.sign(drain(f"c{number}"), key("operator-1"))) for number in range(4)]
    desk = Desk()
    for sequence, payload in enumerate(rng.choices(wanted, k=12)):
        desk.take(payload.SerializeToString(), sequence)
    found = [payload.telecommand.command_id for payload in desk.work()]
    assert len(found) == len(set(found))


def test_an_oversized_order_is_refused() -> None:
    desk = Desk()
    big = drain()
    big.telecommand.request = bytes(orders.MAXIMUM_ORDER_BYTES)
    desk.take(Payload(order=orders.sign(big, key("operator-1"))).SerializeToString())
    assert desk.work() == []


def test_an_order_is_not_done_again_when_its_guard_was_dropped() -> None:
    desk = Desk()
    payload = Payload(order=orders.sign(drain(end=START + 1000), key("operator-1"))).SerializeToString()
    desk.take(payload)
    (item,) = work.open_work(desk.connection, work.TELECOMMAND)
    work.done(desk.connection, item.id)
    desk.now += 100_000
    work.prune(desk.connection, desk.now - 86_400)
    assert desk.connection.execute("SELECT count(*) FROM gateway_orders").fetchone() == (0,)
    desk.take(payload, 2)
    assert desk.work() == []
    assert desk.told[-1].telecommand_report.stage == TelecommandStage.TELECOMMAND_STAGE_EXPIRED
