"""The table of a campaign inside a page of Markdown, between two markers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hil.campaign.present import seconds_text, spread_text

if TYPE_CHECKING:
    from hil.campaign.summary import Summary

BEGIN: Final = "<!-- campaign table: begin -->"
END: Final = "<!-- campaign table: end -->"


def with_table(page: str, summary: Summary, typed: str, day: str) -> str:
    """The page with the table of this campaign between its markers.

    Raises:
        ValueError: the markers are not there, each once and in this order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the table goes between a line {BEGIN} and a line {END}, and they are not there once each")
    return f"{before}{BEGIN}\n{table(summary, typed, day)}{END}{after}"


def table(summary: Summary, typed: str, day: str) -> str:
    """The table in Markdown, with how it was measured."""
    hours = summary.mission_seconds / 3600.0
    measured = (
        f"`{typed}`, {day}: {summary.runs} runs, {hours:,.0f} hours flown, {sum(summary.jobs.values()):,} jobs, "
        f"{summary.commands:,} telecommands, {len(summary.broken)} runs with an invariant broken. Times are seconds "
        "after the fault began, or after its end: the median, and the worst."
    )
    lines = [
        measured,
        "",
        "| fault | faults flown | detected | contained | recovered | after its end | undetected | work lost, at most |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in summary.kinds:
        times = " | ".join(map(spread_text, (row.detected, row.contained, row.recovered, row.recovered_since_end)))
        lost = seconds_text(row.work_lost_seconds)
        lines.append(f"| {row.kind} | {row.faults} | {times} | {row.undetected} | {lost} |")
    return "\n".join(lines) + "\n"
