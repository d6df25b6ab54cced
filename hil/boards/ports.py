"""TCP ports of a board: free ones, and the same again when they are asked for again."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

from hil.sil.ports import free_rows


def ports_for(note: Path, wanted: Mapping[str, int]) -> dict[str, int]:
    """First port of each row of ports. Those of an earlier time are taken again: somebody may know them by now."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if isinstance(known, dict) and {name: row[1] for name, row in known.items()} == dict(wanted):
        return {name: row[0] for name, row in known.items()}
    rows = free_rows(list(wanted.values()), random.SystemRandom())
    found = dict(zip(wanted, rows, strict=True))
    note.write_text(json.dumps({name: (port, wanted[name]) for name, port in found.items()}), encoding="utf-8")
    return found
