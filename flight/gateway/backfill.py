"""What the ground asks for again: found in the recorder and made into batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from flight.gateway.recorder import Recorder
from skyrack.dictionary import message_type
from skyrack.v1.backhaul_pb2 import TelemetryBatch, TelemetrySample
from skyrack.v1.gateway_pb2 import BackfillRequest

__all__ = ["MAXIMUM_BYTES", "Found", "Recording", "find"]

T = TypeVar("T")

MAXIMUM_BYTES: Final = 4 << 20
"""One answer is no longer than this: more is asked for when it has come."""

_BATCH_BYTES: Final = 24_000
_MARGIN_SECONDS: Final = 5.0
"""The recorder stamps what it hears, a moment after it was published."""

_Topic = tuple[str, str, str, int]


@dataclass(slots=True)
class Found:
    """What is to be sent."""

    batches: list[TelemetryBatch] = field(default_factory=list)
    samples: int = 0
    size_bytes: int = 0
    truncated: bool = False


def find(recorder: Recorder, request: BackfillRequest, rate: float) -> Found:
    """Collect the samples that are asked for, oldest first, within bounds.

    Raises:
        ValueError: the request asks for a message that is no telemetry.
        OSError: the recorder cannot be read.
    """
    found = Found()
    bound = min(request.maximum_bytes or MAXIMUM_BYTES, MAXIMUM_BYTES)
    gathered: list[TelemetrySample] = []
    gathered_bytes = 0
    for sample in _wanted(recorder, request):
        size = sample.ByteSize() + 4
        if found.size_bytes + size > bound:
            found.truncated = True
            break
        if gathered_bytes + size > _BATCH_BYTES and gathered:
            found.batches.append(TelemetryBatch(samples=gathered, rate=rate))
            gathered, gathered_bytes = [], 0
        gathered.append(sample)
        gathered_bytes += size
        found.size_bytes += size
        found.samples += 1
    if gathered:
        found.batches.append(TelemetryBatch(samples=gathered, rate=rate))
    return found


def _wanted(recorder: Recorder, request: BackfillRequest) -> Iterator[TelemetrySample]:
    if request.ranges:
        yield from _in_ranges(recorder, request)
        return
    try:
        types = frozenset(message_type(name).DESCRIPTOR.full_name for name in request.message_types)
    except KeyError as error:
        raise ValueError(f"there is no message {error.args[0]}") from None
    end = request.end_seconds or float("inf")
    for block in recorder.read(request.start_seconds, end + _MARGIN_SECONDS):
        for sample in block.samples():
            if request.start_seconds <= sample.mission_time_seconds < end and (
                not types or sample.message_type in types
            ):
                yield sample


def _in_ranges(recorder: Recorder, request: BackfillRequest) -> Iterator[TelemetrySample]:
    wanted: dict[_Topic, list[tuple[int, int]]] = {}
    for item in request.ranges:
        topic = (item.message_type, item.key, item.source, item.incarnation)
        wanted.setdefault(topic, []).append((item.first_sequence, item.last_sequence))
    start = min(item.start_seconds for item in request.ranges)
    end = max(item.end_seconds or float("inf") for item in request.ranges)
    sent: set[tuple[_Topic, int]] = set()
    for block in recorder.read(start - _MARGIN_SECONDS, end + _MARGIN_SECONDS):
        for sample in block.samples():
            topic = (sample.message_type, sample.key, sample.source, sample.incarnation)
            ranges: Sequence[tuple[int, int]] = wanted.get(topic, ())
            number = sample.sequence
            if any(first <= number <= last for first, last in ranges) and (topic, number) not in sent:
                sent.add((topic, number))
                yield sample


class Recording:
    """The recorder beside the loop: one at a time writes to it, or reads from it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._turn = asyncio.Lock()

    async def flush(self, now: float, limit_bytes: float, limit_seconds: float, *, all_of_it: bool = False) -> None:
        """Write what has gathered, when it is time. Raises ``OSError``; then that much was not recorded."""
        if all_of_it or self._recorder.due(now):
            block = self._recorder.take()
            if block is not None and limit_bytes > 0:
                await self._beside(partial(self._recorder.keep, block, limit_bytes, limit_seconds))

    async def find(self, request: BackfillRequest, rate: float) -> tuple[Found, float]:
        """What is asked for, and the mission time of the oldest that is kept. Raises as ``find`` does."""
        found = await self._beside(partial(find, self._recorder, request, rate))
        return found, await self._beside(self._recorder.oldest_seconds)

    async def _beside(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(None, work)
