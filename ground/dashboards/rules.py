"""Prometheus rules: what is recorded, and when somebody is called, as the dictionary's limits say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from skyrack.dictionary import TelemetryField, telemetry
from skyrack.limits import NONE, Limits
from skyrack.metrics import metric_name

__all__ = ["Alert", "alert_groups", "alerts", "recording_groups", "unit_tests"]

RUNBOOKS: Final = "docs/runbooks.md"

_FOR: Final = {"yellow": "2m", "red": "30s"}
"""How long a limit must be left before somebody is called; wall time."""

_SEVERITIES: Final = {"yellow": "warning", "red": "critical"}


@dataclass(frozen=True, slots=True)
class Alert:
    """When somebody is called, and what they read then."""

    name: str
    expr: str
    for_: str
    severity: str
    summary: str
    description: str
    anchor: str
    """Of the section of the runbooks."""
    steps: tuple[str, ...] = ()
    """What to do, in order."""
    field: TelemetryField | None = None

    def json(self, base: str) -> dict[str, Any]:
        """The rule; ``base`` is where the runbooks lie."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.for_,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{base}#{self.anchor}",
            },
        }


def limited_fields() -> list[TelemetryField]:
    """Fields of the dictionary that have limits."""
    fields = (field for message in telemetry().values() if message.state for field in message.fields)
    return [field for field in fields if field.limits != NONE and field.kind.numeric and not field.label]


def _camel(field: TelemetryField) -> str:
    words = field.path.replace(".", "_").split("_")
    return f"{field.message}{''.join(word.capitalize() for word in words)}"


def anchor_of(field: TelemetryField) -> str:
    """Of a field's section: Markdown's own anchor of the heading that is the field's name."""
    return field.name.replace(".", "").lower()


def _sides(limits: Limits, colour: str) -> list[tuple[str, float]]:
    sides = {"<": getattr(limits, f"{colour}_low"), ">": getattr(limits, f"{colour}_high")}
    return [(sign, value) for sign, value in sides.items() if value is not None]


def _of_limits(field: TelemetryField) -> Iterator[Alert]:
    by = ", ".join(("satellite", *field.labels))
    value = f"max by ({by}) ({metric_name(field)})"
    place = "{{ $labels.satellite }}" + "".join(f" {{{{ $labels.{label} }}}}" for label in field.labels)
    for colour in ("yellow", "red"):
        sides = _sides(field.limits, colour)
        if not sides:
            continue
        words = " or ".join(f"{'below' if sign == '<' else 'above'} {limit:g}" for sign, limit in sides)
        unit = f" {field.unit}" if field.unit else ""
        yield Alert(
            name=f"Skyrack{_camel(field)}{colour.capitalize()}",
            expr=" or ".join(f"{value} {sign} {limit:.10g}" for sign, limit in sides),
            for_=_FOR[colour],
            severity=_SEVERITIES[colour],
            summary=f"{place}: {field.name} is {colour}",
            description=f"{field.description}: {{{{ $value | humanize }}}}{unit}, {words} is {colour}",
            anchor=anchor_of(field),
            field=field,
        )


def alerts() -> list[Alert]:
    """All alerts: those of the dictionary's limits, and those of the ground itself."""
    return [alert for field in limited_fields() for alert in _of_limits(field)] + list(_GROUND)


_GROUND: Final = (
    Alert(
        "SkyrackGroundDown",
        'up{job="ground"} == 0',
        "1m",
        "critical",
        "The ground at {{ $labels.instance }} does not answer",
        "Prometheus cannot scrape the ground. Satellites go on by themselves and keep what they have to say.",
        "ground-down",
        (
            "Is its process there? `skyrack up` and systemd start it again by themselves.",
            "Read the end of `logs/ground.jsonl`: a full disk or a lost database is told there in a sentence.",
            "Nothing is lost: what satellites send is sent again until the ground has it.",
        ),
    ),
    Alert(
        "SkyrackGroundDisconnected",
        "skyrack_ground_connected == 0",
        "1m",
        "critical",
        "The ground has no session with the broker",
        "Nothing goes up or comes down; both sides keep what they have to say.",
        "ground-disconnected",
        (
            "Is the broker there, and does its certificate still hold?",
            "Has the broker's address or password changed? It stands in the ground's configuration.",
        ),
    ),
    Alert(
        "SkyrackSatelliteSilent",
        "skyrack_ground_satellite_age_seconds > 12000",
        "1m",
        "warning",
        "{{ $labels.satellite }} has not been heard for two orbits",
        "Last heard {{ $value | humanizeDuration }} of mission time ago.",
        "satellite-silent",
        (
            "Look at the links dashboard: did the laser lose its peer, or is the antenna's link silent, too?",
            "Look at its last state of charge and temperatures: a satellite in the safe mode still answers.",
            "Jobs that it held are placed elsewhere when their leases have ended; nothing has to be done for them.",
        ),
    ),
    Alert(
        "SkyrackCommandQueueHeld",
        "skyrack_ground_command_queue_held == 1 and on (satellite) skyrack_ground_command_queue_items > 0",
        "10m",
        "warning",
        "Commands wait for {{ $labels.satellite }}, whose queue is held",
        "Somebody held the queue and it was not released.",
        "command-queue-held",
        (
            "`skyrack commands list` says who held it, when and why.",
            "Release it with `skyrack commands release SATELLITE`, or withdraw what is not wanted any more.",
        ),
    ),
    Alert(
        "SkyrackFramesRefused",
        "sum by (reason) (increase(skyrack_ground_frames_refused_total[5m])) > 10",
        "1m",
        "warning",
        "Frames are refused: {{ $labels.reason }}",
        "{{ $value | humanize }} frames in five minutes were malformed, forged, replayed, or not for us.",
        "frames-refused",
        (
            "`skyrack events --severity warning` tells what was wrong with them.",
            "Unknown keys: was a satellite provisioned anew? `skyrack keys list`.",
            "Otherwise somebody is on the broker who should not be: look at its access list.",
        ),
    ),
    Alert(
        "SkyrackStorageErrors",
        "increase(skyrack_ground_storage_errors_total[5m]) > 0",
        "0s",
        "critical",
        "The ground's database fails",
        "Nothing was lost: what could not be stored was not acknowledged and comes again.",
        "storage-errors",
        (
            "Is the disk full, or read-only? The log names the file.",
            "With PostgreSQL: does the server answer, and may the ground write?",
        ),
    ),
    Alert(
        "SkyrackRemoteWriteDropped",
        "increase(skyrack_ground_remote_write_dropped_total[5m]) > 0",
        "1m",
        "warning",
        "Prometheus refuses telemetry",
        "Samples with on-board times are refused, most often because they are older than it accepts.",
        "remote-write-dropped",
        ("Set `out_of_order_time_window` in Prometheus to more than the longest time without contact.",),
    ),
)


def alert_groups(base: str = RUNBOOKS) -> dict[str, Any]:
    """The file of alerts."""
    found = alerts()
    limits = [alert.json(base) for alert in found if alert.field is not None]
    ground = [alert.json(base) for alert in found if alert.field is None]
    return {"groups": [{"name": "skyrack-limits", "rules": limits}, {"name": "skyrack-ground", "rules": ground}]}


_RECORDED: Final = (
    (
        "satellite:skyrack_compute_headroom_watts:min",
        "min by (satellite) (skyrack_compute_status_budget_watts - skyrack_compute_status_draw_watts)",
    ),
    ("skyrack:state_of_charge_ratio:min", "min(skyrack_power_status_state_of_charge_ratio)"),
    ("skyrack:chip_maximum_celsius:max", "max(skyrack_thermal_status_chip_maximum_celsius)"),
    ("skyrack:ground_satellites_in_reach:sum", "sum(skyrack_ground_satellite_in_reach)"),
    (
        "satellite:skyrack_ground_items_delivered:rate5m",
        "sum by (satellite) (rate(skyrack_ground_items_delivered_total[5m]))",
    ),
    (
        "skyrack:ground_job_run_seconds:p95",
        "histogram_quantile(0.95, sum by (le) (rate(skyrack_ground_job_run_seconds_bucket[1h])))",
    ),
)


def recording_groups() -> dict[str, Any]:
    """The file of what is recorded, for overviews over a long time."""
    rules = [{"record": name, "expr": expr} for name, expr in _RECORDED]
    return {"groups": [{"name": "skyrack-recorded", "rules": rules}]}


def unit_tests() -> dict[str, Any]:
    """Promtool's tests: beyond each limit its alert fires after its time, and only then; within them none does."""
    return {
        "rule_files": ["skyrack-alerts.yml", "skyrack-recorded.yml"],
        "evaluation_interval": "15s",
        "tests": [test for alert in alerts() if alert.field is not None for test in _tests_of(alert, alert.field)],
    }


def _tests_of(alert: Alert, field: TelemetryField) -> Iterator[dict[str, Any]]:
    colour = "red" if alert.severity == "critical" else "yellow"
    labels = {"satellite": "sat-1", **dict.fromkeys(field.labels, "one")}
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    series = f"{metric_name(field)}{{{pairs}}}"
    for sign, limit in _sides(field.limits, colour):
        beyond = limit + (-1 if sign == "<" else 1) * max(abs(limit) * 0.01, 1e-6)
        yield {
            "interval": "15s",
            "input_series": [
                {"series": series, "values": f"{_within(field.limits):.10g}x20 {beyond:.10g}x40"},
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert.name}",alertstate="firing"}}) or vector(0)',
                    "eval_time": at,
                    "exp_samples": [{"labels": "{}", "value": firing}],
                }
                for at, firing in (("4m", 0), ("10m", 1))
            ],
        }


def _within(limits: Limits) -> float:
    """A value that breaks no limit."""
    low = limits.yellow_low if limits.yellow_low is not None else limits.red_low
    high = limits.yellow_high if limits.yellow_high is not None else limits.red_high
    if low is not None and high is not None:
        return (low + high) / 2
    if low is not None:
        return low + max(abs(low) * 0.1, 0.01)
    return high - max(abs(high) * 0.1, 0.01) if high is not None else 0.0
