"""The ground's own counters, and the latest telemetry of every satellite, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ground.segment import GroundSegment
from ground.store import batches, chunks, jobs, telecommands
from ground.work_metrics import STAGES, work
from skyrack.delivery import ReceivedLedger, SentLedger
from skyrack.jobs import JobState
from skyrack.metrics import TelemetryCollector

__all__ = ["exposition"]


async def exposition(segment: GroundSegment) -> bytes:
    """Everything in the text format. Raises ``StorageError``."""
    states = await segment.database.read(jobs.totals)
    stages = await segment.database.read(telecommands.totals)
    kept = await segment.database.read(lambda connection: (*batches.totals(connection), *chunks.totals(connection)))
    sent, received = await segment.ledgers()
    telemetry = TelemetryCollector()
    for satellite in segment.picture.names:
        for _, _, message in segment.picture.messages(satellite):
            telemetry.update(satellite, message)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ground(segment, states, stages, kept, sent, received))
    registry.register(await work(segment))
    registry.register(telemetry)
    return generate_latest(registry)


class _Ground(Collector):
    """What the ground did and holds."""

    def __init__(
        self,
        segment: GroundSegment,
        states: dict[str, int],
        stages: dict[str, int],
        kept: tuple[int, int, int, int, int],
        sent: list[SentLedger],
        received: list[ReceivedLedger],
    ) -> None:
        self._segment = segment
        self._states = states
        self._stages = stages
        self._kept = kept
        self._sent = sent
        self._received = received

    def describe(self) -> Iterable[Metric]:
        """Nothing: collecting once tells it all."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Metric families."""
        segment = self._segment
        now = segment.clock.now()
        yield _gauge("mission_time_seconds", "Mission time, Unix seconds", now)
        yield _gauge("connected", "A session with the broker is up", float(segment.link.connected))
        yield from self._work()
        yield from self._delivery()
        heard = GaugeMetricFamily(
            "skyrack_ground_satellite_age_seconds", "Mission time since the satellite was heard", labels=["satellite"]
        )
        for name in segment.picture.names:
            seconds = segment.picture.heard_seconds(name)
            if seconds is not None:
                heard.add_metric([name], now - seconds)
        yield heard

    def _work(self) -> Iterator[Metric]:
        counters = self._segment.counters
        all_states = {state.name: self._states.get(state.name, 0) for state in JobState}
        all_stages = {stage: self._stages.get(stage, 0) for stage in STAGES}
        yield _labelled(GaugeMetricFamily, "jobs", "Jobs by state", "state", all_states)
        yield _labelled(GaugeMetricFamily, "telecommands", "Telecommands by stage", "stage", all_stages)
        yield from self._archive()
        yield _counter("samples", "Telemetry samples received since the start", self._segment.picture.samples_total)
        yield _counter("steps", "Looks at what waits", counters.steps)
        yield _counter("storage_errors", "Times that the database or the disk failed", counters.storage_errors)
        yield _labelled(CounterMetricFamily, "items", "New items received by kind", "kind", counters.items)
        yield _labelled(CounterMetricFamily, "frames_refused", "Frames dropped by reason", "reason", counters.refused)

    def _archive(self) -> Iterator[Metric]:
        waiting_batches, waiting_samples, sealed_chunks, sealed_samples, sealed_bytes = self._kept
        yield _gauge("archive_batches", "Telemetry batches that are not sealed yet", waiting_batches)
        yield _gauge("archive_chunks", "Sealed chunks of telemetry", sealed_chunks)
        yield _gauge("archive_samples", "Telemetry messages kept", waiting_samples + sealed_samples)
        yield _gauge("archive_chunk_bytes", "Size of the sealed chunks", sealed_bytes)
        pipelines = self._segment.telemetry_service.pipelines.values()
        yield _counter("values", "Telemetry values received since the start", sum(each.values for each in pipelines))
        yield _counter("samples_refused", "Samples that made no sense", sum(each.refused for each in pipelines))
        yield _counter("samples_duplicate", "Samples that came again", sum(each.duplicates for each in pipelines))
        writer = self._segment.telemetry_service.remote_writer
        if writer is not None:
            yield _counter("remote_write_samples", "Samples that Prometheus took", writer.sent_samples)
            yield _counter("remote_write_dropped", "Samples that Prometheus refused", writer.dropped_samples)
            yield _counter("remote_write_retries", "Requests that were made again", writer.retries)
        counted = dict.fromkeys(("active", "returned", "acknowledged", "shelved", "cleared"), 0)
        for alarm in self._segment.telemetry_service.alarms.book.alarms.values():
            counted[alarm.state] += 1
        yield _labelled(GaugeMetricFamily, "alarms", "Alarms by state", "state", counted)

    def _delivery(self) -> Iterator[Metric]:
        counters = self._segment.endpoint.counters
        yield _counter("sessions", "Sessions begun with the broker", counters.sessions)
        yield _counter("frames_sent", "Frames sent, repeats included", counters.frames_sent)
        yield _counter("frames_received", "Frames received and verified", counters.frames_received)
        waiting = GaugeMetricFamily(
            "skyrack_ground_outbox_items", "Items that wait for acknowledgement", labels=["satellite", "stream"]
        )
        for row in self._sent:
            waiting.add_metric([row.destination, row.stream], row.waiting)
        yield waiting
        accepted = CounterMetricFamily(
            "skyrack_ground_items_accepted", "Items handed to delivery", labels=["satellite", "stream"]
        )
        for row in self._sent:
            accepted.add_metric([row.destination, row.stream], row.accepted)
        yield accepted
        yield from self._blocks()
        yield self._ledger("delivered", "Items stored", "stored")
        yield self._ledger("skipped", "Items given up by their sender", "skipped")
        yield self._ledger("duplicates", "Items received again", "duplicates")

    def _blocks(self) -> Iterator[Metric]:
        blocks = self._segment.transfers.exchange.counters
        yield _counter("block_sent_bytes", "Bytes of packages sent in blocks, repeats included", blocks.sent_bytes)
        yield _counter("block_received_bytes", "Bytes of results that came in blocks, once each", blocks.received_bytes)
        yield _counter("block_resumed_bytes", "Bytes that lay here from an earlier life", blocks.resumed_bytes)
        yield _counter("block_repeated_bytes", "Bytes of blocks that came again", blocks.repeated_bytes)
        yield _counter("blocks_asked_again", "Blocks that were asked for more than once", blocks.asked_again)
        yield _counter("blocks_wrong", "Blocks that were not those that were offered", blocks.wrong)

    def _ledger(self, name: str, text: str, attribute: str) -> Metric:
        family = CounterMetricFamily(f"skyrack_ground_items_{name}", text, labels=["satellite", "stream"])
        totals: dict[tuple[str, str], int] = {}
        for row in self._received:
            key = (row.source, row.stream)
            totals[key] = totals.get(key, 0) + int(getattr(row, attribute))
        for (satellite, stream), value in sorted(totals.items()):
            family.add_metric([satellite, stream], value)
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"skyrack_ground_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"skyrack_ground_{name}", text, value=value)


def _labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    label: str,
    totals: dict[str, int],
) -> Metric:
    family = kind(f"skyrack_ground_{name}", text, labels=[label])
    for key, value in sorted(totals.items()):
        family.add_metric([key], value)
    return family
