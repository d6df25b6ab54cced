"""Exactly once, in small: the campaign of ``skyrack bench ground``, with real processes that are killed."""

from __future__ import annotations

import pytest

from hil.bench.ground import Options
from hil.bench.ground.exactly_once import measure
from hil.bench.ground.station import mosquitto


@pytest.mark.skipif(mosquitto() is None, reason="mosquitto is not installed on this machine")
@pytest.mark.timeout(300)
def test_jobs_and_telemetry_come_through_kills_exactly_once() -> None:
    told: list[str] = []
    figures = measure(Options(jobs=60, batches=600, kill_seconds=2.0, kills_at_least=4, seed=3), told.append)
    assert figures["reached"], figures
    assert figures["lost"] == 0
    assert figures["ledger_verified"]
    assert figures["ledger_problems"] == []
    assert figures["jobs_completed"] == 60
    assert figures["jobs_with_two_accepted_results"] == 0
    assert figures["batches_stored"] >= 600
    assert sum(figures["kills"].values()) >= 4
    assert set(figures["kills"]) == {"broker", "gateway", "ground"}
    assert told
