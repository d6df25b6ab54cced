"""The dictionary as Prometheus metrics: names, HELP and units come from the contract.

``PowerStatus.loads.draw_watts`` is ``skyrack_power_status_loads_draw_watts{satellite="a",load="node-1"}``. Job ids
are never labels; series are bounded, and what does not fit is counted in ``skyrack_metrics_refused_total``.
"""

from __future__ import annotations

import re
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from skyrack.dictionary import TelemetryField, samples, telemetry, telemetry_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message
    from prometheus_client.core import Metric

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def metric_name(field: TelemetryField) -> str:
    """Name of a field's metric: snake case, with the unit that its name ends in."""
    return f"skyrack_{_WORD.sub('_', field.message).lower()}_{field.path.replace('.', '_')}"


class TelemetryCollector(Collector):
    """Latest value of every telemetry field of the satellites that it is shown."""

    def __init__(self, *, series_limit: int = 100_000) -> None:
        self._series_limit = series_limit
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._series = 0
        self._refused = 0
        self._lock = Lock()

    def update(self, satellite: str, message: Message) -> None:
        """Show the latest message of a kind; messages that are no telemetry are ignored."""
        if message.DESCRIPTOR.name not in telemetry():
            return
        found = samples(message)
        with self._lock:
            for name, labels, value in found:
                series = self._values.setdefault(name, {})
                key = (satellite, *labels)
                if key not in series:
                    if self._series >= self._series_limit:
                        self._refused += 1
                        continue
                    self._series += 1
                series[key] = value

    def forget(self, satellite: str) -> None:
        """Stop showing a satellite."""
        with self._lock:
            for series in self._values.values():
                for key in [key for key in series if key[0] == satellite]:
                    del series[key]
                    self._series -= 1

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known only from the dictionary, and collecting is cheap."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Metric families of everything shown so far."""
        with self._lock:
            values = {name: dict(series) for name, series in self._values.items()}
            refused = self._refused
        fields = telemetry_fields()
        for name, series in values.items():
            yield _family(fields[name], series)
        yield CounterMetricFamily(
            "skyrack_metrics_refused", "Samples without a place: too many series", value=float(refused)
        )


def _family(field: TelemetryField, series: dict[tuple[str, ...], float]) -> Metric:
    help_text = field.description
    if field.choices:
        help_text += " (" + ", ".join(f"{number} {name}" for number, name in field.choices) + ")"
    kind = CounterMetricFamily if field.counter else GaugeMetricFamily
    family = kind(metric_name(field), help_text, labels=("satellite", *field.labels))
    for labels, value in series.items():
        family.add_metric(labels, float(value))
    return family
