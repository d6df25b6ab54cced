"""What is installed on boards: a wheel of this checkout, or one that a person names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import skyrack
from skyrack.errors import UserError


def checkout() -> Path | None:
    """The checkout that this runs from; ``None`` when it runs from an installed wheel."""
    root = Path(skyrack.__file__).resolve().parent.parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "deploy" / "board").is_dir() else None


def wheel(named: Path | None, work: Path) -> Path:
    """The wheel to install: the one that was named, or one built in ``work`` (a few seconds).

    Equal sources make equal bytes, so that a board that has them already is left alone.

    Raises:
        UserError: there is no such wheel, or none can be built.
    """
    if named is not None:
        if named.suffix != ".whl" or not named.is_file():
            raise UserError(f"--wheel {named}: there is no such wheel")
        return named.resolve()
    root = checkout()
    if root is None:
        raise UserError("this is no checkout of Skyrack: give the wheel that boards shall have with --wheel FILE")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(work), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    built = sorted(work.glob("skyrack-*.whl"))
    if done.returncode != 0 or not built:
        last = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        raise UserError(f"the wheel of {root} cannot be built: {last}")
    return built[-1]
