"""Decoding into columns and back, limits watched by their edges, sequences and what is missing of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ground.telemetry.backfill import Backfiller, BackfillSettings
from ground.telemetry.chunks import Chunk
from ground.telemetry.columns import decode_floats, decode_integers, encode_floats, encode_integers
from ground.telemetry.history import OpenView, Part, collect, downsample, samples_of
from ground.telemetry.pipeline import SatellitePipeline
from ground.telemetry.sequences import Received
from ground.telemetry.watch import Watched
from skyrack.dictionary import telemetry
from skyrack.limits import Level, Limits
from skyrack.v1 import backhaul_pb2, executive_pb2, gateway_pb2, navigation_pb2, options_pb2, power_pb2

START = 1.8e9


def sample(message: Any, at: float, sequence: int = 0, incarnation: int = 7, key: str = "") -> Any:
    return backhaul_pb2.TelemetrySample(
        message_type=message.DESCRIPTOR.full_name,
        source="power",
        key=key,
        mission_time_seconds=at,
        payload=message.SerializeToString(),
        sequence=sequence,
        incarnation=incarnation,
    )


def batch(*samples: Any) -> Any:
    return backhaul_pb2.TelemetryBatch(samples=samples, rate=1.0)


def charge(at: float, value: float) -> Any:
    return power_pb2.PowerStatus(mission_time_seconds=at, state_of_charge_ratio=value)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200))
def test_columns_of_floats_come_back_to_the_last_bit(values: list[float]) -> None:
    column = np.array(values, np.float64)
    assert decode_floats(encode_floats(column), len(values)).tobytes() == column.tobytes()


@settings(deadline=None)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=200))
def test_columns_of_integers_come_back(values: list[int]) -> None:
    column = np.array(values, np.int64)
    assert decode_integers(encode_integers(column), len(values)).tolist() == values


def fill(message: Any, data: st.DataObject) -> None:  # noqa: C901 - one branch for each kind of field
    """A message with any values in all of its fields."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            if field.is_repeated:
                for _ in range(data.draw(st.integers(0, 3))):
                    fill(getattr(message, field.name).add(), data)
            elif data.draw(st.booleans()):
                getattr(message, field.name).SetInParent()
                fill(getattr(message, field.name), data)
        elif field.is_repeated:
            continue
        elif field.cpp_type == field.CPPTYPE_STRING:
            text = data.draw(st.text("abc", max_size=3))
            setattr(message, field.name, text.encode() if field.type == field.TYPE_BYTES else text)
        elif field.enum_type is not None:
            setattr(message, field.name, data.draw(st.sampled_from([value.number for value in field.enum_type.values])))
        elif field.cpp_type == field.CPPTYPE_BOOL:
            setattr(message, field.name, data.draw(st.booleans()))
        elif field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
            setattr(message, field.name, data.draw(st.floats(allow_nan=False, width=32)))
        else:
            setattr(message, field.name, data.draw(st.integers(0, (1 << 31) - 1)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_messages_come_back_from_their_chunks(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(telemetry())))
    kind = telemetry()[name].type
    pipeline = SatellitePipeline("sat-1")
    sent = []
    for number in range(data.draw(st.integers(1, 12))):
        message = kind()
        fill(message, data)
        sent.append(message)
        pipeline.ingest(batch(sample(message, START + number, number + 1)), START)
    found: dict[float, Any] = {}
    views = [
        Part(topic.kind[0], topic.kind[1], topic.kind[2], shape, OpenView(chunk))
        for topic in pipeline.topics.values()
        for shape, (chunk, _) in topic.chunks.items()
    ]
    opened = [one for part in views for one in samples_of(part, START, math.inf)]
    for topic, chunk in pipeline.seal():
        part = Part(*topic.kind, chunk.shape, Chunk(chunk.seal(), chunk.columns))
        for one in samples_of(part, START, math.inf):
            found[one.mission_time_seconds] = kind.FromString(one.payload)
    assert [found[START + number] for number in range(len(sent))] == sent
    assert sorted(one.sequence for one in opened) == list(range(1, len(sent) + 1))
    latest = pipeline.samples[kind.DESCRIPTOR.full_name, "power", ""]
    assert latest.message == sent[-1]


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), max_size=120))
def test_ranges_know_what_has_come_and_what_has_not(order: list[int]) -> None:
    received = Received()
    seen: set[int] = set()
    for number in order:
        assert received.add(number, START + number) is (number not in seen)
        seen.add(number)
    received = Received.unpack(received.pack())
    newest = max(seen, default=0)
    assert received.newest == newest
    missing = {number for gap in received.gaps() for number in range(gap.first_sequence, gap.last_sequence + 1)}
    assert missing == set(range(1, newest + 1)) - seen
    for gap in received.gaps():
        assert gap.end_seconds == START + gap.last_sequence + 1
        assert gap.start_seconds == (START + gap.first_sequence - 1 if gap.first_sequence > 1 else 0.0)
    for gap in list(received.gaps()):
        received.fill(gap)
    assert not list(received.gaps())
    assert received.forgotten == len(missing)


@settings(deadline=None)
@given(st.permutations(range(1, 25)), st.integers(1, 6))
def test_batches_in_any_order_and_again_are_archived_once(order: list[int], size: int) -> None:
    pipeline = SatellitePipeline("sat-1")
    samples = [sample(charge(START + number, 0.8), START + number, number) for number in order]
    for begin in range(0, len(samples), size):
        pipeline.ingest(batch(*samples[begin : begin + size]), START)
        pipeline.ingest(batch(*samples[begin : begin + size]), START)
    assert pipeline.messages == len(order)
    assert pipeline.duplicates == len(order)
    (topic,) = pipeline.topics.values()
    assert not list(topic.lives()[7].gaps())
    assert topic.latest is not None
    assert topic.latest.mission_time_seconds == START + max(order)


@settings(deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=100))
def test_a_watched_level_is_that_of_the_limits_save_for_the_deadband(values: list[float]) -> None:
    limits = Limits(-1.5, -1.0, 1.0, 1.5)
    watch = Watched(0, None, limits)  # type: ignore[arg-type]
    watch.column = type("Column", (), {"field": "F", "labels": ()})  # type: ignore[assignment]
    crossings = 0
    for value in values:
        if not watch.low <= value <= watch.high:
            crossings += watch.move(value, START) is not None
        level = limits.level(value)
        order = [Level.RED_LOW, Level.YELLOW_LOW, Level.NOMINAL, Level.YELLOW_HIGH, Level.RED_HIGH]
        assert watch.level is not None
        # Never less severe than the limits say, and more severe only within the deadband.
        if watch.level is not level:
            inward = value + math.copysign(0.0601, order.index(watch.level) - 2)
            assert limits.level(inward) is watch.level
    assert 1 <= crossings <= len(values)


def test_limits_in_force_are_those_that_the_satellite_has_published() -> None:
    pipeline = SatellitePipeline("sat-1")
    (first,) = pipeline.ingest(batch(sample(charge(START, 0.55), START, 1)), START)
    assert first.level is Level.YELLOW_LOW
    overrides = executive_pb2.LimitOverrides(
        overrides=[
            executive_pb2.LimitOverride(
                field="PowerStatus.state_of_charge_ratio", limits=options_pb2.Limits(red_low=0.1, yellow_low=0.2)
            )
        ]
    )
    assert not pipeline.ingest(batch(sample(overrides, START + 1, 1)), START)
    (back,) = pipeline.ingest(batch(sample(charge(START + 2, 0.55), START + 2, 2)), START)
    assert back.level is Level.NOMINAL


def test_what_makes_no_sense_is_refused_and_the_rest_is_taken() -> None:
    pipeline = SatellitePipeline("sat-1")
    torn = sample(charge(START, 0.7), START, 2)
    torn.payload = b"\xff\xff"
    unknown = sample(charge(START, 0.7), START, 1)
    unknown.message_type = "skyrack.v1.FromTheFuture"
    pipeline.ingest(
        batch(
            sample(charge(START, 0.7), math.nan, 1),
            torn,
            sample(charge(START, 0.7), START, (1 << 64) - 1),
            sample(charge(START, 0.7), START, 3, (1 << 64) - 1),
            unknown,
            sample(charge(START, 0.7), START, 4),
        ),
        START,
    )
    assert pipeline.messages == 2
    kept = [chunk for _, chunk in pipeline.seal()]
    assert sum(len(chunk.times) for chunk in kept) == 2
    assert any(chunk.payloads for chunk in kept), "what is not known is kept as it came"


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-5, 5)), min_size=1, max_size=200), st.floats(1, 300))
def test_steps_hold_the_least_the_greatest_and_the_mean(points: list[tuple[float, float]], step: float) -> None:
    points.sort()
    times = np.array([at for at, _ in points])
    values = np.array([value for _, value in points])
    found = downsample(times, values, 0.0, step)
    for start, low, high, mean, count in zip(
        found.starts, found.minimum, found.maximum, found.mean, found.count, strict=True
    ):
        inside = [value for at, value in points if math.floor(at / step) == round(start / step)]
        assert (low, high, count) == (min(inside), max(inside), len(inside))
        assert mean == pytest.approx(sum(inside) / len(inside), abs=1e-9)
    assert found.count.sum() == len(points)


def test_fields_are_found_in_sealed_and_open_chunks_once() -> None:
    pipeline = SatellitePipeline("sat-1")
    for number in range(10):
        pipeline.ingest(batch(sample(charge(START + number, number / 10), START + number, number + 1)), START + 60)
    (topic,) = pipeline.topics.values()
    ((shape, (chunk, _)),) = topic.chunks.items()
    opened = Part(*topic.kind, shape, OpenView(chunk))
    sealed = [Part(*one.kind, full.shape, Chunk(full.seal(), full.columns)) for one, full in pipeline.seal()]
    name = "PowerStatus.state_of_charge_ratio"
    (found,) = collect([*sealed, opened], frozenset({name}), START + 2, START + 8)
    assert found.values.tolist() == [number / 10 for number in range(2, 8)]
    assert found.received.tolist() == [START + 60] * 6


def link(at: float, sequence: int) -> Any:
    return sample(gateway_pb2.LinkStatus(mission_time_seconds=at), at, sequence)


def test_gaps_are_asked_for_newest_first_bounded_and_in_the_end_given_up() -> None:
    pipeline = SatellitePipeline("sat-1")
    for number in [*range(1, 11), *range(21, 31), 40, *range(2000, 2200)]:
        pipeline.ingest(batch(sample(navigation_pb2.OrbitState(), START + number, number)), START)
    asks = Backfiller(BackfillSettings(contact_bytes=2 << 20, request_bytes=1 << 20))
    now = START + 2300
    first = asks.next_request(pipeline, 1, now)
    assert first is not None
    assert [(item.first_sequence, item.last_sequence) for item in first.ranges] == [(41, 1999), (11, 39)] or [
        (item.first_sequence, item.last_sequence) for item in first.ranges
    ] == [(11, 1999)]
    assert asks.next_request(pipeline, 1, now + 1) is None, "not again so soon"
    assert asks.next_request(pipeline, 1, now + 400) is not None
    assert asks.next_request(pipeline, 1, now + 800) is None, "this contact has had its part"
    assert asks.next_request(pipeline, 2, now + 1200) is not None
    assert asks.next_request(pipeline, 3, now + 1600) is None
    (topic,) = pipeline.topics.values()
    assert not list(topic.lives()[7].gaps())
    assert topic.lives()[7].forgotten == 10 + 9 + 1959
