"""Writes faults as the TOML file that ``skyrack twin --faults`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import tomli_w

from skyrack.files import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil.faults import Fault


def fault_file(faults: Sequence[Fault], about: str = "") -> str:
    """The text of the file; ``about`` stands above as a comment."""
    tables = []
    for fault in faults:
        table = {name: value for name, value in msgspec.to_builtins(fault).items() if value is not None}
        tables.append({name: table.pop(name) for name in ("kind", "satellite")} | table)
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    return comment + tomli_w.dumps({"faults": tables})


def write_faults(path: Path, faults: Sequence[Fault], about: str = "") -> None:
    """Write the file. Raises FileError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fault_file(faults, about), encoding="utf-8")
    except OSError as error:
        raise FileError(path, f"cannot be written ({error.strerror})") from None
