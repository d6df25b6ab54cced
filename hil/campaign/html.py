"""The report of a campaign: one page that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader

from hil.campaign.pictures import recovery_times, timeline
from hil.campaign.present import seconds_text, spread_text
from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.campaign.file import Campaign
    from hil.campaign.result import RunResult
    from hil.campaign.summary import Summary

TEMPLATE = "report.html.jinja"


def write_report(
    path: Path,
    campaign: Campaign,
    summary: Summary,
    results: Sequence[RunResult],
    replay: Mapping[int, Sequence[str]],
) -> None:
    """Write the page. Raises UserError where it cannot be written."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters |= {"seconds": seconds_text, "spread": spread_text}
    by_seed = {result.seed: result for result in results}
    recovered = [
        (
            row.kind,
            [
                outcome.recovered_after
                for result in results
                for outcome in result.outcomes
                if outcome.kind == row.kind and outcome.recovered_after is not None
            ],
        )
        for row in summary.kinds
    ]
    pictures = {
        row.kind: _picture(campaign, by_seed[row.worst_seed]) for row in summary.kinds if row.worst_seed is not None
    }
    text = environment.get_template(TEMPLATE).render(
        campaign=campaign.file,
        summary=summary,
        pictures=pictures,
        worst={row.kind: by_seed[row.worst_seed] for row in summary.kinds if row.worst_seed is not None},
        recovery=recovery_times(recovered),
        replay=replay,
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _picture(campaign: Campaign, result: RunResult) -> str:
    """Of the satellite that the main fault struck; nothing where the run ended early."""
    struck = result.faults[0].satellite if result.faults else ""
    satellite = struck if struck in result.looks else next(iter(result.looks), "")
    return timeline(campaign, result, satellite) if satellite else ""
