"""Whole runs, with real processes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("system_bench", Path(__file__).with_name("bench.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kit() -> Any:
    """What is in ``bench.py``."""
    return _module()


@pytest.fixture(scope="module")
def make_bench(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Make benches in directories of their own; all end with the module."""
    made = []

    def make(name: str = "up", directory: Path | None = None) -> Any:
        made.append(kit.Bench(directory or tmp_path_factory.mktemp("bench"), name))
        return made[-1]

    yield make
    for bench in made:
        bench.close()
