"""What campaigns found, flown again: the satellite comes back by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.campaign.file import load_campaign
from hil.campaign.fly import fly_run
from hil.faults import Fault, LoadShort

CAMPAIGN = """
name = "findings"
constellation = "demo"
run_seconds = 600
drain_seconds = 60
[workload]
jobs_per_hour = 10
commands_per_hour = 0
[[kinds]]
kind = "pump-stop"
at_seconds = {from = 1, to = 2}
duration_seconds = {from = 1, to = 2}
"""

LASER = LoadShort(satellite="sat-1", load="laser-1", watts=300.0, at_seconds=200.0, duration_seconds=200.0)
NODE = LoadShort(satellite="sat-1", load="node-2", watts=2800.0, at_seconds=200.0, duration_seconds=200.0)


@pytest.mark.parametrize(
    ("fault", "soon"),
    [
        # Cut after ten seconds, powered again five minutes later, and found at once.
        pytest.param(LASER, 345.0, id="a-laser-that-was-cut-finds-its-partner-as-soon-as-it-has-power"),
        # All that may be shed falls open; the laser comes back first.
        pytest.param(NODE, 345.0, id="what-fell-open-in-a-brown-out-is-closed-again"),
    ],
)
def test_the_link_is_back_by_itself(tmp_path: Path, fault: Fault, soon: float) -> None:
    path = tmp_path / "findings.toml"
    path.write_text(CAMPAIGN, encoding="utf-8")
    result = fly_run(load_campaign(path), 1, (fault,))
    assert [breach for breach in result.breaches if breach.invariant != "brown-out"] == []
    (outcome,) = result.outcomes
    assert outcome.detected_after is not None
    assert outcome.recovered_after is not None
    assert outcome.recovered_after < soon
