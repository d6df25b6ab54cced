"""The ground behaves the same whatever keeps its records: its tests once more, on a file and on a server."""

from __future__ import annotations

import importlib.util
import inspect
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


def _scenarios() -> dict[str, Any]:
    """The tests of the segment that need nothing but the kit."""
    source = Path(__file__).with_name("test_segment.py")
    loaded = importlib.util.spec_from_file_location("segment_once_more", source)
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    found = inspect.getmembers(module, inspect.isfunction)
    return {
        name: test
        for name, test in found
        if name.startswith("test_") and [*inspect.signature(test).parameters] == ["kit"]
    }


SCENARIOS = _scenarios()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_segment_does_the_same(kit: type[Any], target: Path | str, name: str) -> None:
    parts = {name: getattr(kit, name) for name in dir(kit) if not name.startswith("_")}
    SCENARIOS[name](SimpleNamespace(**{**parts, "fly": partial(kit.fly, database=target)}))
