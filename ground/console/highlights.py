"""The overview's short list of events: what is told over and over stands there once for each service, with a count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ground.console import rows
from ground.records import EventRecord

__all__ = ["REPEATED", "highlights"]

REPEATED: Final = "rate_group_overrun"
"""The event that a busy machine brings forth by the dozen: a rate group ran past its next start."""

_REPEATED_SHOWN: Final = 4


def highlights(events: Iterable[EventRecord], every: Iterable[EventRecord], limit: int) -> list[rows.Row]:
    """Rows of at most ``limit`` events, newest first: ``events``, which leave out ``REPEATED``, and those of ``every``.

    Of the repeated ones stand the four services that told of it last; the rest is for the page of all events.
    """
    told: dict[tuple[str, str], list[EventRecord]] = {}
    for record in every:
        if record.name == REPEATED:
            told.setdefault((record.satellite, record.source), []).append(record)
    last = sorted(told.values(), key=lambda group: group[0].id, reverse=True)[:_REPEATED_SHOWN]
    found = [(record.id, _row([record])) for record in events] + [(group[0].id, _row(group)) for group in last]
    return [row for _, row in sorted(found, key=lambda pair: pair[0], reverse=True)[:limit]]


def _row(group: Sequence[EventRecord]) -> rows.Row:
    """One event, or many of a kind, the newest first."""
    newest = group[0]
    row = rows.event_row(newest)
    time, severity, satellite, _, text = row["cells"]
    if len(group) > 1:
        row["key"] = f"{newest.satellite} {newest.source} {newest.name}"
        group_name = newest.fields.get("group", "")
        text = f"{newest.source} ran late {len(group)} times" + (f", last in {group_name}" if group_name else "")
    return row | {"cells": [time, severity, f"{satellite}: {text}"]}
