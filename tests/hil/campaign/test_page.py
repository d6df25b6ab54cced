"""The page about faults, and the table that a campaign puts into it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from hil.campaign.file import load_campaign
from hil.campaign.invariants import INVARIANTS
from hil.campaign.page import BEGIN, END, with_table
from hil.campaign.result import RunResult
from hil.campaign.summary import summarise
from hil.fault_watch import FaultOutcome
from hil.faults import Fault, PumpStop
from skyrack import files

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "faults.md").read_text(encoding="utf-8")


def test_the_page_has_a_section_for_every_kind_of_fault_and_a_row_for_every_invariant() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(Fault)}
    assert set(re.findall(r"^### ([a-z-]+)$", PAGE, re.MULTILINE)) == kinds
    assert set(re.findall(r"^\| ([a-z-]+) \| ", PAGE.split(BEGIN)[0], re.MULTILINE)) - {"invariant"} == {
        *INVARIANTS,
        "run",
    }
    shipped = load_campaign(files.find("campaigns", "shipped"))
    assert {excuse.kind for excuse in shipped.file.excused} <= kinds


def outcome(detected: float | None, recovered: float | None) -> FaultOutcome:
    return FaultOutcome(
        "pump-stop", "sat-1", 60.0, detected, detected, recovered, 12.0, ("ThermalStatus.x",), lasted=60.0
    )


def test_medians_and_the_worst_of_each_kind_come_into_the_page() -> None:
    fault = PumpStop(satellite="sat-1", at_seconds=60.0, duration_seconds=60.0)
    results = [
        RunResult(seed, "pump-stop", (fault,), (outcome(*times),), mission_seconds=3600.0, jobs={"COMPLETED": 2})
        for seed, times in enumerate([(5.0, 100.0), (7.0, 2000.0), (9.0, None), (None, 300.0)])
    ]
    summary = summarise("shipped", ["pump-stop", "reboot"], 0, results)
    assert summary.kinds[0].worst_seed == 2
    page = with_table(PAGE, summary, "skyrack hil campaign shipped --seeds 4", "2026-01-02")
    assert "4 runs, 4 hours flown, 8 jobs" in page
    assert "| pump-stop | 4 | 7.0, 9.0 s | 7.0, 9.0 s | 300, 2,000 s | 240, 1,940 s | 1 | 12 s |" in page
    assert "| reboot | 0 | - | - | - | - | 0 | 0 s |" in page
    assert with_table(page, summary, "x", "y").count(BEGIN) == 1


@pytest.mark.parametrize("page", ["nothing", f"{BEGIN}\n", f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="the table goes between"):
        with_table(page, summarise("shipped", [], 0, []), "x", "y")
