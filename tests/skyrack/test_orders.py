from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyrack import orders
from skyrack.orders import OrderRefusedError
from skyrack.signing import KeyEntry, KeyRing, Right, SigningKey, seeded_ring
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence, Order, SequenceStep, SignedOrder, Telecommand
from skyrack.v1.executive_pb2 import SetModeRequest
from skyrack.v1.options_pb2 import SIGNIFICANCE_CAUTION, SIGNIFICANCE_CRITICAL, SIGNIFICANCE_UNSPECIFIED

SATELLITE = "sat-1"
NOW = 1000.0


def key(name: str) -> SigningKey:
    return SigningKey.from_seed(1, name)


def ring() -> KeyRing:
    found = seeded_ring(1, [SATELLITE])
    found.add(KeyEntry("researcher", key("researcher").public, frozenset({Right.SUBMIT})))
    found.add(KeyEntry("trainee", key("trainee").public, frozenset({Right.COMMAND})))
    return found


def telecommand(method: str = "SetLoadSwitch", **values: object) -> Order:
    command = Telecommand(command_id="c1", service="power", method=method, not_after_seconds=2000.0, **values)  # type: ignore[arg-type]
    return orders.telecommand_order(SATELLITE, command, signed_seconds=NOW, submitter="alice")


def critical() -> Order:
    return telecommand("SetMode", request=SetModeRequest().SerializeToString())


def signed(order: Order, *names: str) -> bytes:
    return orders.sign(order, *(key(name) for name in names)).SerializeToString()


def verified(data: bytes, now: float = NOW) -> orders.Verified:
    return orders.verify(data, ring(), now=now, destination=SATELLITE)


def refusal(data: bytes, now: float = NOW, satellite: str = SATELLITE) -> str:
    with pytest.raises(OrderRefusedError) as caught:
        orders.verify(data, ring(), now=now, destination=satellite)
    return str(caught.value)


def test_an_order_is_believed_as_it_was_signed() -> None:
    found = verified(signed(telecommand(), "operator-1"))
    assert found.kind == orders.TELECOMMAND
    assert found.order.telecommand.submitter == "alice"
    assert found.guard == f"{key('operator-1').key_id}/c1"
    assert orders.signer_text(found) == "operator-1"
    assert orders.signer_text(verified(signed(telecommand(), "ground"))) == "ground for alice"


@pytest.mark.parametrize(
    ("order", "signer", "problem"),
    [
        (telecommand(), "researcher", "researcher signed a telecommand without the right to it (command)"),
        (telecommand(), SATELLITE, "without the right"),
        (telecommand(), "authority", "without the right"),
        (telecommand(), "stranger", "not known here"),
        (orders.key_list_order("k1", ring().to_message(), signed_seconds=NOW), "operator-1", "(authority)"),
        (orders.key_list_order("k1", ring().to_message(), signed_seconds=NOW), "ground", "(authority)"),
        (orders.job_order(job_pb2.JobSpec(job_id="j"), signed_seconds=NOW), "authority", "(submit)"),
    ],
)
def test_who_may_not_is_refused(order: Order, signer: str, problem: str) -> None:
    assert problem in refusal(signed(order, signer))


def test_what_is_late_or_for_another_is_refused() -> None:
    data = signed(telecommand(), "operator-1")
    assert "ended 500 s of mission time ago" in refusal(data, now=2500.0)
    assert "is for sat-1, not for sat-2" in refusal(data, satellite="sat-2")
    job = signed(orders.job_order(job_pb2.JobSpec(job_id="j"), signed_seconds=NOW), "researcher")
    assert verified(job).order.destination == ""


def test_a_signature_is_needed_and_each_must_be_good() -> None:
    order = orders.sign(telecommand(), key("operator-1"))
    assert "carries 0 signatures" in refusal(SignedOrder(order=order.order).SerializeToString())
    order.signatures.add(key_id=key("operator-2").key_id, signature=order.signatures[0].signature)
    assert "not one of operator-2's key" in refusal(order.SerializeToString())
    assert "carries 5 signatures" in refusal(signed(telecommand(), "a", "b", "c", "d", "e"))


def test_a_signature_for_another_purpose_is_none() -> None:
    order = SignedOrder(order=telecommand().SerializeToString())
    signature = key("operator-1").sign("skyrack frame 1", order.order)
    order.signatures.add(key_id=key("operator-1").key_id, signature=signature)
    assert "the signature is not one of operator-1" in refusal(order.SerializeToString())


def test_keys_out_of_their_time_are_refused() -> None:
    old = KeyEntry("old", key("old").public, frozenset({Right.COMMAND}), 0.0, NOW - 5)
    data = signed(telecommand(), "old")
    with pytest.raises(OrderRefusedError, match="expired 5 s"):
        orders.verify(data, KeyRing([old]), now=NOW, destination=SATELLITE)


@pytest.mark.parametrize(
    ("signers", "problem"),
    [
        (("operator-1",), "needs the signature of a second person; only operator-1"),
        (("ground",), "only alice"),
        (("ground", "trainee"), "none of its signers (alice, trainee) holds the right critical"),
        (("operator-1", "researcher"), "researcher signed a telecommand without the right to it (command or critical)"),
        (("operator-1", "operator-2"), ""),
        (("ground", "operator-2"), ""),
        (("trainee", "operator-2"), ""),
    ],
)
def test_what_is_critical_needs_two_people(signers: tuple[str, ...], problem: str) -> None:
    data = signed(critical(), *signers)
    if problem:
        assert problem in refusal(data)
    else:
        assert [entry.name for entry in verified(data).signers] == list(signers)


def test_the_same_key_twice_is_one_person() -> None:
    order = orders.sign(critical(), key("operator-1"))
    assert orders.cosign(order, key("operator-1")) == order
    order.signatures.add().CopyFrom(order.signatures[0])
    assert "only operator-1 has signed" in refusal(order.SerializeToString())


def test_two_keys_of_the_same_person_are_one_person() -> None:
    found = ring()
    found.add(KeyEntry("operator-1", key("new").public, frozenset({Right.COMMAND, Right.CRITICAL})))
    with pytest.raises(OrderRefusedError, match="second person"):
        orders.verify(signed(critical(), "operator-1", "new"), found, now=NOW, destination=SATELLITE)


def test_who_asks_by_token_and_signs_with_a_key_is_one_person() -> None:
    order = critical()
    order.submitter = order.telecommand.submitter = "operator-1"
    assert "only operator-1 has signed" in refusal(signed(order, "ground", "operator-1"))
    assert "only operator-1 has signed" in refusal(signed(order, "operator-1", "ground"))
    assert verified(signed(order, "ground", "operator-2")).signers[1].name == "operator-2"
    order.submitter = order.telecommand.submitter = ""  # the ground itself asks
    assert verified(signed(order, "ground", "operator-1"))


@pytest.mark.parametrize("field", ["not_after_seconds", "signed_seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1.0])
def test_times_that_are_none_are_refused(field: str, value: float) -> None:
    """A database that cannot keep one would never acknowledge it: nothing would come up after it any more."""
    cancel = orders.cancel_order("x", "", job_pb2.JobCancel(job_id="j"), signed_seconds=NOW, not_after_seconds=2000.0)
    setattr(cancel, field, value)
    assert "must be numbers of mission seconds" in refusal(signed(cancel, "operator-1"))


def test_a_sequence_is_as_significant_as_its_gravest_step() -> None:
    steps = [SequenceStep(telecommand=order.telecommand) for order in (telecommand(), critical())]
    for count, significance in ((0, SIGNIFICANCE_UNSPECIFIED), (1, SIGNIFICANCE_CAUTION), (2, SIGNIFICANCE_CRITICAL)):
        sequence = CommandSequence(name="s", steps=steps[:count])
        order = orders.sequence_order("s1", SATELLITE, sequence, signed_seconds=NOW, not_after_seconds=2000.0)
        assert orders.significance_of(order) == significance
    assert "second person" in refusal(signed(order, "operator-1"))


@pytest.mark.parametrize(
    "change",
    [
        {"order_id": ""},
        {"order_id": "x" * 200},
        {"order_id": "c2"},
        {"submitter": "bob"},
        {"not_after_seconds": 9e9},
        {"destination": ""},
    ],
)
def test_an_order_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    order = telecommand()
    for name, value in change.items():
        setattr(order, name, value)
    refusal(signed(order, "operator-1"))


def test_what_is_no_order_is_refused() -> None:
    assert "not a signed order" in refusal(b"\xff\xff")
    assert "asks for nothing" in refusal(signed(Order(order_id="c1", destination=SATELLITE), "operator-1"))
    assert "at most" in refusal(bytes(orders.MAXIMUM_ORDER_BYTES + 1))


def test_a_refusal_tells_what_the_order_would_have_been() -> None:
    with pytest.raises(OrderRefusedError) as caught:
        orders.verify(signed(telecommand(), "stranger"), ring(), now=NOW, destination=SATELLITE)
    assert caught.value.order is not None
    assert caught.value.order.order_id == "c1"


def test_a_placement_carries_the_job_that_was_signed() -> None:
    spec = job_pb2.JobSpec(job_id="j", name="n", submitter="alice", deadline_seconds=5000.0)
    data = signed(orders.job_order(spec, signed_seconds=NOW), "researcher")
    assert orders.placed_spec(job_pb2.JobPlacement(signed_order=data)) == spec
    with pytest.raises(OrderRefusedError, match="not for a job"):
        orders.placed_spec(job_pb2.JobPlacement(signed_order=signed(telecommand(), "operator-1")))


ORDER = signed(critical(), "operator-1", "operator-2")
RING = ring()


@given(st.integers(0, len(ORDER) - 1), st.integers(1, 255))
def test_a_changed_byte_never_changes_what_is_done(index: int, change: int) -> None:
    tampered = bytearray(ORDER)
    tampered[index] ^= change
    try:
        found = orders.verify(bytes(tampered), RING, now=NOW, destination=SATELLITE)
    except OrderRefusedError:
        return
    # Bytes that nobody reads may differ.
    assert found.order == critical()
    assert found.guard == f"{key('operator-1').key_id}/c1"


@given(st.integers(0, len(ORDER) - 1))
def test_a_truncated_order_is_refused(length: int) -> None:
    with pytest.raises(OrderRefusedError):
        orders.verify(ORDER[:length], RING, now=NOW, destination=SATELLITE)


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(OrderRefusedError):
        orders.verify(data, RING, now=NOW, destination=SATELLITE)
