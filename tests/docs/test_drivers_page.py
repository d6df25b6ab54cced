"""The page of drivers knows them all."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "drivers.md"


def test_every_driver_is_on_the_page_and_every_one_there_exists() -> None:
    shown = set(re.findall(r"`([a-z_0-9]+\.[a-z_0-9]+)`", PAGE.read_text(encoding="utf-8")))
    groups = ("skyrack.devices", "skyrack.instruments")
    installed = {entry.name for group in groups for entry in entry_points(group=group)}
    assert installed - shown == set()
    families = {name.partition(".")[0] for name in installed}
    assert {name for name in shown if name.partition(".")[0] in families} - installed == set()
