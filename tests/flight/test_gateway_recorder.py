"""The recorder keeps what was published within its bounds, whatever cut its writing off, and finds it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight.gateway.backfill import MAXIMUM_BYTES, find
from flight.gateway.recorder import Recorder
from skyrack.v1.backhaul_pb2 import TelemetrySample
from skyrack.v1.gateway_pb2 import BackfillRange, BackfillRequest

START = 1.8e9
LIMIT = 1e12
TYPE = "skyrack.v1.PowerStatus"


def sample(number: int, source: str = "power", incarnation: int = 7, size: int = 20) -> TelemetrySample:
    return TelemetrySample(
        message_type=TYPE,
        source=source,
        mission_time_seconds=START + number,
        payload=number.to_bytes(8, "big") + b"x" * size,
        sequence=number,
        incarnation=incarnation,
    )


def record(recorder: Recorder, first: int, last: int, *, limit: float = LIMIT, seconds: float = LIMIT) -> None:
    for number in range(first, last + 1):
        recorder.add(sample(number), START + number)
    block = recorder.take()
    assert block is not None
    recorder.keep(block, limit, seconds)


def numbers(recorder: Recorder, request: BackfillRequest) -> list[int]:
    found = find(recorder, request, 1.0)
    sent = [one.sequence for batch in found.batches for one in batch.samples]
    assert found.samples == len(sent)
    return sent


def wanted(*ranges: tuple[int, int], incarnation: int = 7) -> BackfillRequest:
    return BackfillRequest(
        ranges=[
            BackfillRange(
                message_type=TYPE,
                source="power",
                incarnation=incarnation,
                first_sequence=first,
                last_sequence=last,
                start_seconds=START + first - 1,
                end_seconds=START + last + 1,
            )
            for first, last in ranges
        ]
    )


@pytest.fixture(params=["file", "memory"])
def recorder(request: pytest.FixtureRequest, tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recorder" if request.param == "file" else None)


def test_ranges_and_times_are_found_again(recorder: Recorder) -> None:
    for first in range(1, 1000, 100):
        record(recorder, first, first + 99)
    assert numbers(recorder, wanted((5, 7), (150, 150), (998, 2000))) == [5, 6, 7, 150, 998, 999, 1000]
    assert numbers(recorder, wanted((5, 7), incarnation=8)) == []
    by_time = BackfillRequest(start_seconds=START + 10, end_seconds=START + 13, message_types=["PowerStatus"])
    assert numbers(recorder, by_time) == [10, 11, 12]
    other = BackfillRequest(start_seconds=START + 10, end_seconds=START + 13, message_types=["ThermalStatus"])
    assert numbers(recorder, other) == []
    with pytest.raises(ValueError, match="there is no message Nonsense"):
        find(recorder, BackfillRequest(message_types=["Nonsense"]), 1.0)


def test_an_answer_is_bounded_and_says_so(recorder: Recorder) -> None:
    record(recorder, 1, 100)
    request = wanted((1, 100))
    request.maximum_bytes = 1000
    found = find(recorder, request, 1.0)
    assert found.truncated
    assert 0 < found.size_bytes <= 1000 < MAXIMUM_BYTES
    assert found.batches[0].samples[0].sequence == 1


def test_blocks_are_due_when_they_are_full_or_old() -> None:
    recorder = Recorder(None)
    assert not recorder.due(START)
    recorder.add(sample(1), START)
    assert not recorder.due(START + 59)
    assert recorder.due(START + 60)


def test_the_oldest_goes_when_there_is_no_room(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    limit = 400_000.0
    for block in range(200):
        for number in range(block * 100 + 1, block * 100 + 101):
            one = sample(number)
            one.payload += bytes((number * 7919 + index * index * 31) % 251 for index in range(60))
            recorder.add(one, START + number)
        taken = recorder.take()
        assert taken is not None
        recorder.keep(taken, limit, LIMIT)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert limit / 2 < size <= limit
    assert recorder.oldest_seconds() > START + 100
    assert numbers(recorder, wanted((19_990, 20_000))) == list(range(19_990, 20_001))
    assert numbers(recorder, wanted((1, 10))) == []


def test_what_is_too_old_goes(recorder: Recorder) -> None:
    record(recorder, 1, 10, seconds=1000)
    for block in range(1, 40):
        record(recorder, block * 100, block * 100 + 10, seconds=1000)
    if recorder.oldest_seconds() < START + 2800:
        # A file is dropped as a whole, when all of it is too old.
        assert numbers(recorder, wanted((3900, 3910))) == list(range(3900, 3911))
    else:
        assert numbers(recorder, wanted((1, 10))) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.booleans())
def test_power_that_fails_in_the_middle_of_a_write_costs_that_block_alone(cut: int, flip: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        first = Recorder(path)
        record(first, 1, 50)
        (file,) = path.iterdir()
        whole = file.stat().st_size
        record(first, 51, 100)
        data = bytearray(file.read_bytes())
        at = whole + cut % (len(data) - whole)
        if flip:
            data[at] ^= 0x55
        else:
            del data[at:]
        file.write_bytes(data)
        second = Recorder(path)
        record(second, 101, 150)
        assert numbers(second, wanted((1, 50))) == list(range(1, 51))
        assert numbers(second, wanted((101, 150))) == list(range(101, 151))
        assert numbers(second, wanted((51, 100))) == []
