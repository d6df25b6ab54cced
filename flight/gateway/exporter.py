"""The satellite's own Prometheus endpoint: the latest of every telemetry message on the bus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from skyrack.errors import UserError
from skyrack.metrics import TelemetryCollector

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Exporter(Collector):
    """Keeps the latest bytes of each message and decodes them when somebody looks."""

    def __init__(self, satellite: str) -> None:
        self._satellite = satellite
        self._latest: dict[bytes, tuple[type[Message], bytes]] = {}
        self._mission_time_seconds = 0.0
        self._telemetry = TelemetryCollector()

    def update(self, topic: bytes, message_type: type[Message], payload: bytes, mission_time_seconds: float) -> None:
        """Take the latest message of a topic."""
        self._latest[topic] = (message_type, payload)
        self._mission_time_seconds = max(self._mission_time_seconds, mission_time_seconds)

    def serve(self, address: str) -> None:
        """Answer scrapes at ``[host:]port``.

        Raises:
            UserError: the address cannot be used.
        """
        host, _, port = address.rpartition(":")
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(int(port), host or "127.0.0.1", registry)
        except (OSError, OverflowError, ValueError) as error:
            raise UserError(
                f'metrics.port = "{address}": cannot serve there ({error}); a free port, or host:port, is needed'
            ) from None

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only from the dictionary."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Everything that is known now."""
        for message_type, payload in list(self._latest.values()):
            self._telemetry.update(self._satellite, message_type.FromString(payload))
        time = GaugeMetricFamily(
            "skyrack_mission_time_seconds", "Mission time of the latest sample", labels=["satellite"]
        )
        time.add_metric([self._satellite], self._mission_time_seconds)
        yield time
        yield from self._telemetry.collect()
