"""Telemetry on its way down: samples gather into batches. Plain values in, plain values out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from skyrack.v1.backhaul_pb2 import TelemetryBatch, TelemetrySample

_BATCH_BYTES: Final = 24_000
"""Fits one frame beside its signature."""


@dataclass(slots=True)
class _Open:
    began: float
    samples: dict[tuple[str, str, str, int], TelemetrySample] = field(default_factory=dict)
    size_bytes: int = 0


class Batcher:
    """Gathers the samples of each stream until there are enough, or the first has waited long enough.

    While ``thinning``, a batch keeps only the newest sample of each message and instance, which is what a slow link,
    or a long silence, has room for; what it drops is counted in ``thinned``.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._open: dict[int, _Open] = {}
        self._number = 0
        self.thinning = False
        self.thinned = 0

    def add(self, stream: int, sample: TelemetrySample, now: float) -> None:
        """Take a sample at mission time ``now``."""
        batch = self._open.get(stream)
        if batch is None:
            batch = self._open[stream] = _Open(now)
        self._number += 1
        key = (sample.message_type, sample.key, sample.source, 0 if self.thinning else self._number)
        old = batch.samples.pop(key, None)
        if old is not None:
            self.thinned += 1
            batch.size_bytes -= len(old.payload)
        batch.samples[key] = sample
        batch.size_bytes += len(sample.payload)

    def full(self, stream: int, most_samples: int) -> bool:
        """Whether the stream's batch has enough."""
        batch = self._open.get(stream)
        return batch is not None and (len(batch.samples) >= most_samples or batch.size_bytes >= _BATCH_BYTES)

    def due(self, now: float, longest_wait: dict[int, float], most_samples: int) -> list[int]:
        """Streams whose batch is to go now; ``longest_wait`` in mission seconds by stream."""
        return [
            stream
            for stream, batch in self._open.items()
            if now - batch.began >= longest_wait.get(stream, 0.0) or self.full(stream, most_samples)
        ]

    def take(self, stream: int) -> TelemetryBatch | None:
        """Close the stream's batch and return it."""
        batch = self._open.pop(stream, None)
        return TelemetryBatch(samples=batch.samples.values(), rate=self._rate) if batch else None

    def put_back(self, stream: int, batch: TelemetryBatch, now: float) -> None:
        """Undo ``take``: it could not be stored. The newest value of each instance is kept, no more."""
        thinning, self.thinning = self.thinning, True
        newer = self._open.pop(stream, None)
        for sample in (*batch.samples, *(newer.samples.values() if newer else ())):
            self.add(stream, sample, now)
        self.thinning = thinning
