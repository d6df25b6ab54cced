"""The elements that draw many things at once. Each is told everything when it is made, and changes by messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui.element import Element

from ground.console.columns import Column

__all__ = ["Drop", "Grid", "Life", "Plot", "Topbar", "WorldMap"]

Rows = Sequence[Mapping[str, Any]]


class Topbar(Element, component="assets/topbar.js", esm={"skyrack-console": "assets"}):
    """The bar over every page. Emits ``submit`` when its key was pressed."""

    def __init__(self, prefix: str, instance: str, person: Mapping[str, str], path: str, status: Any) -> None:
        super().__init__()
        self._props.update(prefix=prefix, instance=instance, person=person, path=path, status=status)

    def sync(self, status: Mapping[str, Any]) -> None:
        """Mission time, link and counts are these now."""
        self.run_method("sync", status)

    def here(self, path: str) -> None:
        """Another page is shown."""
        self.run_method("here", path)


class WorldMap(Element, component="assets/worldmap.js"):
    """The constellation over the Earth."""

    def __init__(self, scene: Mapping[str, Any]) -> None:
        super().__init__()
        self._props["scene"] = scene

    def push(self, scene: Mapping[str, Any]) -> None:
        """What changed; what is not named stays."""
        self.run_method("push", scene)


class Grid(Element, component="assets/grid.js"):
    """A table. A row is ``{"key", "cells", "href", "level"}``. Emits ``act`` with the action and key of a button.

    ``empty`` is HTML that is shown in place of no rows; it says what to do next. ``is_cards`` makes a phone show a row
    as a few short lines, where its cells do not fit beside each other.
    """

    def __init__(
        self, label: str, columns: Sequence[Column], rows: Rows, empty: str, *, is_cards: bool = False
    ) -> None:
        super().__init__()
        if is_cards:
            self.classes("sr-cards")
        self._props.update(label=label, columns=[column.described() for column in columns], rows=rows, empty=empty)

    def replace(self, rows: Rows) -> None:
        """These are all rows now, in this order."""
        self.run_method("replace", rows)

    def update_rows(self, rows: Rows) -> None:
        """These rows are new or changed; the others stay."""
        self.run_method("update", rows)


class Plot(Element, component="assets/plot.js"):
    """Values over mission time."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__()
        self._props["data"] = data

    def push(self, data: Mapping[str, Any]) -> None:
        """Draw this instead."""
        self.run_method("push", data)


class Life(Element, component="assets/life.js"):
    """A job's attempts and steps."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        super().__init__()
        self._props["job"] = job

    def push(self, job: Mapping[str, Any]) -> None:
        """The job is so far now."""
        self.run_method("push", job)


class Drop(Element, component="assets/drop.js"):
    """Takes files and sends them to ``url``. Emits ``sent`` with the answer."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._props["url"] = url
