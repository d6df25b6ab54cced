"""Dashboards, rules and runbooks are those of the dictionary, and Prometheus understands them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ground.dashboards import files
from ground.dashboards.boards import boards
from ground.dashboards.panels import Panel, Query, field_panel, unit_of
from ground.dashboards.rules import alerts, limited_fields
from ground.dashboards.runbooks import runbooks
from skyrack.dictionary import commands, telemetry, telemetry_fields
from skyrack.metrics import metric_name

ROOT = Path(__file__).resolve().parents[2]


def panels(board: Any) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def test_what_is_committed_is_what_would_be_made() -> None:
    wrong = files.differences(ROOT, files.generated())
    assert wrong == [], "run `skyrack dashboards`"


def test_the_command_writes_and_checks(tmp_path: Path) -> None:
    def skyrack(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from skyrack.cli import main; main()", "dashboards"]
        return subprocess.run(
            [*program, "--output", str(tmp_path), *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    assert skyrack("--check").returncode == 1
    assert skyrack().returncode == 0
    assert skyrack("--check").returncode == 0
    path = tmp_path / "deploy/grafana/dashboards/jobs.json"
    path.write_text(path.read_text().replace("Skyrack", "Mine"))
    done = skyrack("--check")
    assert done.returncode == 1
    assert "deploy/grafana/dashboards/jobs.json is not what" in done.stderr


def test_promtool_finds_nothing_wrong(requires_tool: Callable[[str], str], tmp_path: Path) -> None:
    promtool = requires_tool("promtool")
    directory = tmp_path / "prometheus"
    shutil.copytree(ROOT / "deploy/prometheus", directory)
    for arguments in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "skyrack-alerts.yml", "skyrack-recorded.yml"),
        ("test", "rules", "skyrack-tests.yml"),
    ):
        done = subprocess.run(
            [promtool, *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(boards()))
def test_panels_have_places_of_their_own_and_say_what_they_show(name: str) -> None:
    board = boards()[name]
    ids = [panel["id"] for panel in board["panels"]] + [
        inner["id"] for panel in board["panels"] for inner in panel.get("panels", ())
    ]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels(board):
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
    assert json.loads(json.dumps(board)) == board


def test_every_state_of_a_satellite_is_on_its_dashboard() -> None:
    shown = "".join(target["expr"] for panel in panels(boards()["satellite"]) for target in panel["targets"])
    for message in telemetry().values():
        for field in message.fields:
            if message.state and field.kind.numeric and not field.label:
                assert f"{metric_name(field)}{{" in shown


def test_thresholds_and_units_are_the_dictionarys() -> None:
    panel = field_panel(telemetry_fields()["ThermalStatus.battery_celsius"]).json(1, 0, 0)
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] == "celsius"
    assert [(step["color"], step["value"]) for step in defaults["thresholds"]["steps"]] == [
        ("red", None),
        ("yellow", -5),
        ("green", 5),
        ("yellow", 40),
        ("red", 50),
    ]
    assert all(unit_of(field.unit).startswith("suffix") is False for field in telemetry_fields().values())
    assert unit_of("furlongs") == "suffix: furlongs"
    plain = Panel("one", (Query("up"),)).json(1, 0, 0)
    assert plain["fieldConfig"]["defaults"]["thresholds"]["steps"] == [{"color": "green", "value": None}]


def test_words_stand_for_the_numbers_of_states() -> None:
    panel = field_panel(telemetry_fields()["SatelliteStatus.mode"]).json(1, 0, 0)
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert mapping["options"]["3"]["text"] == "safe"


def test_every_limit_has_its_alert_and_every_alert_its_runbook() -> None:
    page = runbooks()
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    found = alerts()
    assert len({alert.name for alert in found}) == len(found)
    for alert in found:
        assert alert.anchor in anchors, alert.name
        assert f"`{alert.name}`" in page
    for field in limited_fields():
        assert {alert.severity for alert in found if alert.field is field} == {"warning", "critical"}


def test_runbooks_name_commands_that_there_are() -> None:
    named = re.findall(r"skyrack send SATELLITE (\w+)", runbooks())
    assert named
    assert set(named) <= set(commands())
