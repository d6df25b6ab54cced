"""Hatch build hook: the contract's Python modules are made when the package is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))


class ContractBuildHook(BuildHookInterface[Any]):
    """Runs ``proto/generate.py`` before files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate, so that wheels, sdists and editable installs all carry the same modules."""
        del version, build_data
        from generate import generate

        generate()
