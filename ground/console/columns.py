"""Columns of tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["NOTHING", "Column"]

NOTHING: Final = "\N{EN DASH}"
"""Stands where nothing is known."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a grid; ``kind`` says how its cells are written (see ``assets/grid.js``)."""

    title: str
    kind: str = "text"
    unit: str = ""
    digits: int | None = None
    sortable: bool = True
    hint: str = ""
    # "sr-hide" leaves a column out on phones.
    style: str = ""

    def described(self) -> dict[str, Any]:
        """The column as its element reads it."""
        found = asdict(self)
        found["class"] = found.pop("style")
        return {name: value for name, value in found.items() if value not in ("", None)}
