"""Events of satellites and of the ground, and the alarms that stand."""

from __future__ import annotations

from typing import Final

from ground.console import rows
from ground.console.alarms import AlarmTable
from ground.console.elements import Grid
from ground.console.feed import Frame
from ground.console.visit import Visit
from ground.console.widgets import button, element, heading, panel, search, tabs
from skyrack.v1.common_pb2 import SEVERITY_ERROR, SEVERITY_UNSPECIFIED, SEVERITY_WARNING

__all__ = ["page"]

_PAGE: Final = 100
_TABS: Final = {"all": "All", "warnings": "Warnings and worse", "errors": "Errors"}
_LEAST: Final = {"all": SEVERITY_UNSPECIFIED, "warnings": SEVERITY_WARNING, "errors": SEVERITY_ERROR}


def page(visit: Visit) -> None:
    """The newest first."""
    tab, words, shown = "all", "", _PAGE

    async def find() -> None:
        limit = 10 * shown if words else shown + 1
        least = _LEAST[tab]
        if (tab, words, shown) == ("all", "", _PAGE):
            records = visit.frame.events
        else:
            records = list(reversed(await visit.segment.events(limit=limit, severity=least)))
        found = [rows.event_row(record) for record in records]
        found = [row for row in found if all(word in str(row["cells"]).lower() for word in words.split())]
        grid.replace(found[:shown])
        more.visible = len(records) >= min(limit, shown)

    def ask(new_tab: str | None = None, new_words: str | None = None, new_shown: int = _PAGE) -> None:
        nonlocal tab, words, shown
        tab = tab if new_tab is None else new_tab
        words = words if new_words is None else new_words.lower()
        shown = new_shown
        visit.later(find(), grid)

    heading("Alarms and events")
    with panel("Alarms"):
        alarms = AlarmTable(visit)
    element("div").style("height: 12px")
    with element("section", "sr-panel", aria_label="Events"):
        with element("div", "head"):
            tabs(_TABS, "all", lambda name: ask(new_tab=name))
            element("span", "grow")
            search("Search events", lambda text: ask(new_words=text))
        found = [rows.event_row(record) for record in visit.frame.events]
        grid = Grid("Events", rows.EVENT_COLUMNS, found, "No event like this has been kept.", is_cards=True)
    more = button("Show more", lambda: ask(new_shown=shown + 4 * _PAGE))
    more.visible = len(visit.frame.events) >= _PAGE

    def show(frame: Frame) -> None:
        alarms.show(frame)
        if frame.is_news:
            visit.later(find(), grid)

    visit.on_frame(grid, show)
