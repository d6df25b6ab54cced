"""Every panel of every dashboard, asked of a real Prometheus that scraped a real run: none is empty."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRAPES = 4
VARIABLES = {"$satellite": ".*", "$__rate_interval": "30s", "$__interval": "5s"}


class Prometheus:
    def __init__(self, program: str, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        shutil.copytree(ROOT / "deploy/prometheus", directory / "deploy/prometheus")
        self.log = directory / "prometheus.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    program,
                    "--config.file=deploy/prometheus/prometheus.yml",
                    f"--storage.tsdb.path={directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                cwd=directory,
                stdout=output,
                stderr=output,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)

    def ask(self, path: str, **params: Any) -> Any:
        answer = self.http.get(f"/api/v1/{path}", params=params).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def is_ready(self) -> bool:
        try:
            targets = self.ask("targets")["activeTargets"]
        except (httpx.HTTPError, ValueError):  # not there yet, or there and not ready
            return False
        return len(targets) == 3 and all(target["health"] == "up" for target in targets)

    def values(self, expr: str, *, instant: bool) -> list[float]:
        if instant:
            found = [row["value"] for row in self.ask("query", query=expr)["result"]]
        else:
            now = time.time()
            rows = self.ask("query_range", query=expr, start=now - 30, end=now, step=5)["result"]
            found = [value for row in rows for value in row["values"]]
        return [float(value) for _, value in found if not math.isnan(float(value))]

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def prometheus(make_bench: Callable[..., Any], requires_tool: Callable[[str], str], kit: Any) -> Iterator[Prometheus]:
    """A run of the demonstration at 60x, scraped for a while."""
    program = requires_tool("prometheus")
    bench = make_bench("panels")
    bench.up("--rate", "60")
    made = Prometheus(program, bench.directory)
    try:
        kit.eventually(made.is_ready, "Prometheus scrapes the ground and both satellites")
        since = f"min(count_over_time(up[5m])) >= {SCRAPES}"
        kit.eventually(lambda: made.ask("query", query=since)["result"], f"{SCRAPES} scrapes of each")
        yield made
    finally:
        made.close()


def panels() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for outer in board["panels"]:
            for panel in outer["panels"] if outer["type"] == "row" else [outer]:
                for target in panel["targets"]:
                    yield path.stem, panel["title"], target


@pytest.mark.parametrize("source", ["ground", "satellite"])
def test_no_panel_is_empty(prometheus: Prometheus, source: str) -> None:
    empty = []
    for board, title, target in panels():
        expr = target["expr"]
        for name, value in {**VARIABLES, "$source": source}.items():
            expr = expr.replace(name, value)
        assert "$" not in expr
        if not prometheus.values(expr, instant=target["instant"]):
            empty.append(f"{board}: {title}: {expr}")
    assert empty == []


def test_the_variable_of_satellites_lists_them(prometheus: Prometheus) -> None:
    board = json.loads((ROOT / "deploy/grafana/dashboards/satellite.json").read_text())
    query = next(each for each in board["templating"]["list"] if each["name"] == "satellite")["query"]["query"]
    selector, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    found = prometheus.ask(f"label/{label}/values", **{"match[]": selector.replace("$source", "ground")})
    assert found == ["sat-1", "sat-2"]


def test_rules_are_evaluated_and_nothing_is_alarmed_but_by_limits(prometheus: Prometheus) -> None:
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    ground = next(group for group in groups if group["name"] == "skyrack-ground")
    assert [rule["name"] for rule in ground["rules"] if rule["state"] == "firing"] == []
