"""Grafana's JSON: panels, their thresholds, dashboards around them. Schema of Grafana 10 and later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from skyrack.dictionary import TelemetryField
from skyrack.limits import NONE, Limits
from skyrack.metrics import metric_name

__all__ = ["Panel", "Query", "Row", "dashboard", "field_panel", "selector", "unit_of"]

_WIDTH: Final = 24
_SCHEMA_VERSION: Final = 39
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_UNITS: Final = {
    "watts": "watt",
    "celsius": "celsius",
    "seconds": "s",
    "ratio": "percentunit",
    "bytes": "bytes",
    "joules": "joule",
    "volts": "volt",
    "amperes": "amp",
    "meters": "lengthm",
    "radians": "radian",
    "degrees": "degree",
    "bits per second": "bps",
    "": "short",
}
"""Grafana's names of the dictionary's units."""


def unit_of(unit: str) -> str:
    """Grafana's name of a unit; one that Grafana does not know stands behind the number."""
    return _UNITS.get(unit, f"suffix: {unit}")


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks Prometheus."""

    expr: str
    legend: str = "{{satellite}}"
    instant: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; ``width`` of 24 fill a row of the screen."""

    title: str
    queries: tuple[Query, ...]
    description: str = ""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    limits: Limits = NONE
    choices: tuple[tuple[int, str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    stacked: bool = False

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel at a place."""
        has_limits = any(value is not None for _, value in self.limits.items())
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": _steps(self.limits)},
            "mappings": _mappings(self.choices),
        }
        if self.minimum is not None:
            defaults["min"] = self.minimum
        if self.maximum is not None:
            defaults["max"] = self.maximum
        if self.kind == "timeseries":
            defaults["custom"] = {
                "lineWidth": 1,
                "fillOpacity": 20 if self.stacked else 5,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "line" if has_limits else "off"},
            }
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": _DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": _DATASOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend,
                    "instant": query.instant,
                    "range": not query.instant,
                }
                for place, query in enumerate(self.queries)
            ],
        }


_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
    "state-timeline": {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8, "legend": {"showLegend": False}},
    "heatmap": {"calculate": False, "color": {"mode": "scheme", "scheme": "Spectral"}, "yAxis": {"unit": "s"}},
}


def _steps(limits: Limits) -> list[dict[str, Any]]:
    """Colours from low to high: red, yellow, green, yellow, red, as far as there are limits."""
    low = limits.red_low is not None or limits.yellow_low is not None
    base = "red" if limits.red_low is not None else "yellow" if low else "green"
    steps: list[dict[str, Any]] = [{"color": base, "value": None}]
    edges = (
        (limits.red_low, "yellow" if limits.yellow_low is not None else "green"),
        (limits.yellow_low, "green"),
        (limits.yellow_high, "yellow"),
        (limits.red_high, "red"),
    )
    return steps + [{"color": color, "value": value} for value, color in edges if value is not None]


def _mappings(choices: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    if not choices:
        return []
    names = [name.split("_") for _, name in choices]
    shared = 0
    while len(names) > 1 and all(len(name) > shared + 1 and name[shared] == names[0][shared] for name in names):
        shared += 1
    options = {
        str(number): {"text": " ".join(name[shared:]).lower(), "index": place}
        for place, ((number, _), name) in enumerate(zip(choices, names, strict=True))
    }
    return [{"type": "value", "options": options}]


def selector(field: TelemetryField, satellite: str = "$satellite") -> str:
    """A field's series: of the chosen source and satellites."""
    return f'{metric_name(field)}{{job=~"$source",satellite=~"{satellite}"}}'


def field_panel(field: TelemetryField, *more: TelemetryField, width: int = 8) -> Panel:
    """A panel of one field, or of several of one unit: unit, limits and words from the dictionary."""
    fields = (field, *more)
    queries = []
    for each in fields:
        name = "" if not more else f" {_title(each)}"
        legend = "{{satellite}}" + "".join(f" {{{{{label}}}}}" for label in each.labels) + name
        expr = f"rate({selector(each)}[$__rate_interval])" if each.counter else selector(each)
        queries.append(Query(expr, legend))
    title = _title(field) if not more else ", ".join(_title(each) for each in fields)
    return Panel(
        title=f"{title} per second" if field.counter else title,
        queries=tuple(queries),
        description="; ".join(each.description for each in fields),
        unit="cps" if field.counter else unit_of(field.unit),
        kind="state-timeline" if field.choices else "timeseries",
        width=width,
        limits=field.limits if not more else NONE,
        choices=field.choices,
        minimum=0 if field.unit == "ratio" and field.limits else None,
        maximum=1 if field.unit == "ratio" and field.limits else None,
    )


def _title(field: TelemetryField) -> str:
    """``PowerStatus.loads.draw_watts`` is "loads draw"."""
    words = field.path.replace(".", " ").replace("_", " ").removesuffix(" total")
    unit = f" {field.unit}"
    words = words.removesuffix(unit) if field.unit else words
    return words[:1].upper() + words[1:]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


def dashboard(uid: str, title: str, description: str, rows: Iterable[Row], variables: Sequence[dict[str, Any]]) -> Any:
    """A dashboard of rows, one under the other."""
    made: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        number = len(made) + sum(len(panel.get("panels", ())) for panel in made) + 1
        heading = {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": row.collapsed,
            "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
            "panels": [],
        }
        placed = list(_place(row.panels, number + 1, y + 1))
        y = max((panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in placed), default=y + 1)
        if row.collapsed:
            heading["panels"] = placed
            made.append(heading)
        else:
            made += [heading, *placed]
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["skyrack"],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "utc",
        "templating": {"list": list(variables)},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "Skyrack", "tags": ["skyrack"], "asDropdown": True, "keepTime": True}
        ],
        "panels": made,
    }


def _place(panels: Sequence[Panel], number: int, y: int) -> Iterator[dict[str, Any]]:
    """Left to right, then down."""
    x = height = 0
    for place, panel in enumerate(panels):
        if x + panel.width > _WIDTH:
            x, y, height = 0, y + height, 0
        yield panel.json(number + place, x, y)
        x += panel.width
        height = max(height, panel.height)
