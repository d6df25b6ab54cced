"""Telemetry over time, files of it and alarms, through the front door and on the command line."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner

from ground import telemetry_commands
from ground.api import make_app
from ground.plot import plot, sparkline
from ground.segment import GroundSegment
from ground.telemetry.values import values
from ground.telemetry_commands import seconds_of
from skyrack.errors import UserError
from skyrack.v1 import backhaul_pb2, power_pb2

CHARGE = "PowerStatus.state_of_charge_ratio"


def feed(world: Any, count: int = 600) -> float:
    """A second of PowerStatus each, with a dip below the red limit; returns the first time."""
    start = float(int(world.clock.now()) - count)
    for begin in range(0, count, 100):
        samples = []
        for number in range(begin, begin + 100):
            status = power_pb2.PowerStatus(
                mission_time_seconds=start + number,
                state_of_charge_ratio=0.45 if 200 <= number < 300 else 0.8,
                loads=[power_pb2.LoadStatus(load="node-1", draw_watts=float(number))],
            )
            samples.append(
                backhaul_pb2.TelemetrySample(
                    message_type="skyrack.v1.PowerStatus",
                    source="power",
                    mission_time_seconds=start + number,
                    payload=status.SerializeToString(),
                )
            )
        batch = backhaul_pb2.TelemetryBatch(samples=samples, rate=1.0)
        world.ground.telemetry_service.take("sat-1", None, batch, start + begin + 100)
        world.ground.telemetry_service.alarms.tick({"sat-1": start + begin + 99}, start + begin + 100)
    return start


def talking(kit: Any, scenario: Callable[[Any, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with kit.fly(rate=1.0) as world:
            transport = httpx.ASGITransport(make_app(world.ground, "test"))
            async with httpx.AsyncClient(transport=transport, base_url="http://ground") as http:
                await scenario(world, http)

    asyncio.run(whole())


def test_history_as_it_came_and_step_by_step(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        start = feed(world)
        path = "/v1/satellites/sat-1/telemetry/history"
        params: dict[str, Any] = {"field": [CHARGE, "PowerStatus.loads.draw_watts"], "start_seconds": start}
        for is_sealed in (False, True):
            if is_sealed:
                await world.ground.telemetry_service.archiver.seal(["sat-1"])
            found = (await http.get(path, params={**params, "end_seconds": start + 600})).json()
            draw, charge = sorted(found["series"], key=lambda series: series["field"])
            assert draw["labels"] == {"load": "node-1"}
            assert draw["value"] == [float(number) for number in range(600)]
            assert charge["quality"][199:202] == ["nominal", "red_low", "red_low"]
            assert charge["received_seconds"][0] == start + 100
            assert charge["unit"] == "ratio"
            steps = (await http.get(path, params={**params, "end_seconds": start + 600, "step_seconds": 250})).json()
            draw, charge = sorted(steps["series"], key=lambda series: series["field"])
            assert draw["minimum"] == [0, 250, 500]
            assert draw["maximum"] == [249, 499, 599]
            assert charge["count"] == [250, 250, 100]
            assert charge["value"][0] == pytest.approx((200 * 0.8 + 50 * 0.45) / 250)
        few = (await http.get(path, params={**params, "end_seconds": start + 600, "limit": 10})).json()
        assert few["is_truncated"]
        assert {len(series["value"]) for series in few["series"]} == {10}
        refused: tuple[tuple[dict[str, Any], str], ...] = (
            ({"field": "PowerStatus.nothing"}, "there is no telemetry field PowerStatus.nothing"),
            ({"field": CHARGE, "start_seconds": 20, "end_seconds": 10}, "end_seconds must be greater"),
            ({"field": CHARGE, "start_seconds": 1, "end_seconds": 1e9, "step_seconds": 1}, "more than 20,000 steps"),
        )
        for bad, text in refused:
            response = await http.get(path, params=bad)
            assert response.status_code == 422
            assert text in response.json()["detail"]
        assert (await http.get("/v1/satellites/sat-1/telemetry/gaps")).json() == []

    talking(kit, scenario)


def test_files_hold_every_value_with_its_unit(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        start = feed(world)
        params: dict[str, Any] = {"field": CHARGE, "start_seconds": start, "end_seconds": start + 600}
        response = await http.get("/v1/telemetry/export", params={**params, "satellite": "sat-1"})
        table = pyarrow.parquet.read_table(io.BytesIO(response.content))
        assert table.num_rows == 600
        assert json.loads(table.schema.metadata[b"skyrack.fields"])[CHARGE]["unit"] == "ratio"
        assert table["mission_time_seconds"].to_pylist() == [start + number for number in range(600)]
        assert set(table["unit"].to_pylist()) == {"ratio"}
        text = (await http.get("/v1/telemetry/export", params={**params, "format": "csv"})).text.splitlines()
        assert text[0].replace('"', "").startswith("satellite,field,labels,source,mission_time_seconds")
        assert len(text) == 601
        assert (await http.get("/v1/telemetry/export", params={"satellite": "sat-7"})).status_code == 404

    talking(kit, scenario)


def test_alarms_are_listed_acknowledged_and_shelved(kit: Any) -> None:
    async def scenario(world: Any, http: httpx.AsyncClient) -> None:
        feed(world)
        await world.ground.telemetry_service.alarms.write(world.clock.now())
        (alarm,) = (await http.get("/v1/alarms", params={"satellite": "sat-1"})).json()
        assert (alarm["name"], alarm["state"], alarm["severity"]) == (CHARGE, "returned", "CRITICAL")
        path = f"/v1/alarms/{alarm['id']}"
        refused = await http.post(f"{path}/shelve", json={"reason": "later"})
        assert refused.status_code == 422
        shelved = await http.post(f"{path}/shelve", json={"reason": "later", "for_seconds": 60})
        assert shelved.json()["state"] == "shelved"
        assert (await http.post(f"{path}/unshelve")).json()["state"] == "returned"
        seen = (await http.post(f"{path}/acknowledge", json={"comment": "eclipse"})).json()
        assert (seen["state"], seen["comment"]) == ("cleared", "eclipse")
        assert (await http.get("/v1/alarms")).json() == []
        assert len((await http.get("/v1/alarms", params={"with_cleared": True})).json()) == 1
        assert [step["action"] for step in (await http.get(path)).json()["history"]][:2] == ["raised", "returned"]
        assert (await http.get("/v1/alarms/999")).status_code == 404
        told = (await http.get("/v1/events", params={"satellite": "sat-1"})).json()
        assert "alarm_raised" in [event["name"] for event in told]

    talking(kit, scenario)


class Answers:
    """Stands in for a ground that is asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    def health(self) -> dict[str, Any]:
        return {"mission_time_seconds": 1_800_000_600.0}

    def ask(self, call: Any) -> Any:
        self.asked.append(call)
        return self.answers[call.path.rpartition("/")[2]]

    @contextmanager
    def streaming(self, call: Any) -> Any:
        self.asked.append(call)
        yield iter([b"one", b"two"])


def typed(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], command: Any, *words: str) -> tuple[str, Answers]:
    ground = Answers(answers)

    @contextmanager
    def asking(_url: str) -> Any:
        yield ground

    monkeypatch.setattr(telemetry_commands, "asking", asking)
    result = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output, ground


def test_the_command_line_draws_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    series = {
        "field": CHARGE,
        "labels": {},
        "unit": "ratio",
        "mission_time_seconds": [1_800_000_000.0, 1_800_000_300.0],
        "value": [0.5, 0.9],
        "minimum": [0.4, 0.9],
        "maximum": [0.6, 0.95],
    }
    answer = {"start_seconds": 1.8e9, "end_seconds": 1.8e9 + 600, "step_seconds": 300, "series": [series]}
    telemetry = telemetry_commands.telemetry
    words = ("sat-1", "state_of_charge", "--since", "10m")
    output, ground = typed(monkeypatch, {"history": answer}, telemetry, *words)
    assert "least 0.4, greatest 0.95, newest 0.9 ratio" in output
    assert "█" in output
    assert ground.asked[0].params["start_seconds"] == 1.8e9
    output, _ = typed(monkeypatch, {"history": answer}, telemetry, *words, "--plot")
    assert output.count("┤") == 8
    gap = {
        "satellite": "sat-1",
        "message_type": "skyrack.v1.PowerStatus",
        "source": "power",
        "key": "",
        "missing": 12,
        "gaps": 2,
        "start_seconds": 1.8e9,
        "end_seconds": 1.8e9,
        "filled": 3400,
        "lost": 1,
    }
    output, _ = typed(monkeypatch, {"gaps": [gap]}, telemetry, "gaps", "sat-1")
    assert "3,400" in output


def test_a_file_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = tmp_path / "week.csv"
    _, ground = typed(monkeypatch, {}, telemetry_commands.export, "all", "--since", "1h", "-o", str(target))
    assert target.read_bytes() == b"onetwo"
    assert ground.asked[0].params["format"] == "csv"
    with pytest.raises(UserError, match="--force"):
        typed(monkeypatch, {}, telemetry_commands.export, "all", "-o", str(target))
    assert [path.name for path in tmp_path.iterdir()] == ["week.csv"]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("2d", 172_800)])
def test_spans_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    with pytest.raises(UserError, match="no time span"):
        seconds_of(text + "x")


def test_plots_hold_what_there_is() -> None:
    assert sparkline([0, None, 1]) == "▁ █"
    assert sparkline([]) == sparkline([None]) == ""
    lines, low, high = plot([0.0, 1.0], [3.0, 3.0], [3.0, 3.0], 4, 2)
    assert len(lines) == 2
    assert low < 3 < high


def test_what_is_no_number_has_no_value() -> None:
    class Segment:
        def telemetry(self, satellite: str) -> list[tuple[float, str, Any]]:
            message = power_pb2.PowerStatus(state_of_charge_ratio=float("nan"), load_power_watts=float("inf"))
            return [(1.0, "", message)]

    found = {value.field: value.value for value in values(cast("GroundSegment", Segment()), "sat-1")}
    assert found[CHARGE] is None
    assert found["PowerStatus.load_power_watts"] is None
    assert found["PowerStatus.battery_voltage_volts"] == 0.0
