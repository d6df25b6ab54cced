from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from skyrack.dictionary import telemetry_fields
from skyrack.metrics import TelemetryCollector, metric_name
from skyrack.v1 import common_pb2, executive_pb2, power_pb2


def exposed(collector: TelemetryCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_a_field_is_exposed_with_its_unit_help_and_labels() -> None:
    collector = TelemetryCollector()
    status = power_pb2.PowerStatus(
        state_of_charge_ratio=0.5, loads=[power_pb2.LoadStatus(load="node-1", draw_watts=120)]
    )
    collector.update("a", status)
    text = exposed(collector)
    assert 'skyrack_power_status_state_of_charge_ratio{satellite="a"} 0.5' in text
    assert 'skyrack_power_status_loads_draw_watts{load="node-1",satellite="a"} 120.0' in text
    assert "# HELP skyrack_power_status_loads_draw_watts Measured draw of the load" in text


def test_the_latest_value_counts_and_a_satellite_can_be_forgotten() -> None:
    collector = TelemetryCollector()
    for charge in (0.5, 0.25):
        collector.update("a", power_pb2.PowerStatus(state_of_charge_ratio=charge))
    assert 'state_of_charge_ratio{satellite="a"} 0.25' in exposed(collector)
    collector.forget("a")
    assert 'satellite="a"' not in exposed(collector)


def test_counters_are_counters_and_all_of_it_parses() -> None:
    collector = TelemetryCollector()
    collector.update("a", common_pb2.Health(service="power", overruns_total=3))
    families = {family.name: family for family in text_string_to_metric_families(exposed(collector))}
    assert families["skyrack_health_overruns"].type == "counter"
    assert families["skyrack_health_overruns"].samples[0].value == 3


def test_series_are_bounded_and_what_is_no_telemetry_is_ignored() -> None:
    collector = TelemetryCollector(series_limit=8)
    for index in range(10):
        collector.update(f"satellite-{index}", power_pb2.PowerStatus())
    collector.update("a", executive_pb2.SetModeRequest())
    text = exposed(collector)
    assert text.count("{satellite=") == 8
    refused = [line for line in text.splitlines() if line.startswith("skyrack_metrics_refused_total ")]
    assert float(refused[0].split()[1]) > 0


def test_no_two_fields_share_a_metric() -> None:
    names = [metric_name(field) for field in telemetry_fields().values()]
    assert len(set(names)) == len(names)
