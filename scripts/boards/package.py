"""Skyrack as a board gets it: a wheel of this tree, and the packages that it needs there."""

from __future__ import annotations

import compileall
import hashlib
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

from scripts.boards import cache

_SOURCES = ("proto", "flight", "ground", "hil", "deploy", "examples")
_PYTHON = "3.11"
_PLATFORMS = {
    "arm64": ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_26_aarch64", "manylinux_2_28_aarch64"),
    "amd64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_26_x86_64", "manylinux_2_28_x86_64"),
}
_TOOLS = cache.REPOSITORY / ".venv/bin/python"


def wheel() -> Path:
    """A wheel of the working tree as it is now."""
    digest = hashlib.sha256((cache.REPOSITORY / "pyproject.toml").read_bytes())
    for folder in _SOURCES:
        for path in sorted((cache.REPOSITORY / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(("_pb2.py", "_pb2.pyi")):
                digest.update(str(path.relative_to(cache.REPOSITORY)).encode() + path.read_bytes())

    def build(place: Path) -> None:
        command = [*_pip("wheel"), "--no-deps", "--no-build-isolation", "--wheel-dir", str(place)]
        subprocess.run([*command, str(cache.REPOSITORY)], check=True)

    return next(cache.kept("wheel", digest.hexdigest(), build).glob("*.whl"))


def unpacked(wheel_file: Path) -> Path:
    """A wheel as it lies in site-packages: ``tree``, and ``tree.tar.gz``; compiled where this Python is the boards'."""

    def build(place: Path) -> None:
        tree = place / "tree"
        subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel_file), str(tree)], check=True)
        if f"{sys.version_info[0]}.{sys.version_info[1]}" == _PYTHON:
            # Minutes on an emulated board. Nobody edits these files there: no dates need to agree.
            compileall.compile_dir(
                tree, quiet=2, stripdir=str(tree), invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
            )
        subprocess.run(["tar", "-C", str(tree), "-czf", str(place / "tree.tar.gz"), "."], check=True)

    return cache.kept("unpacked", [wheel_file.parent.name, sys.version], build)


def packages(architecture: str, lock: str, only: tuple[str, ...] = ()) -> Path:
    """A folder of installed packages for another machine, pinned by ``requirements/<lock>.lock``."""
    pinned = pins((cache.REPOSITORY / "requirements" / f"{lock}.lock").read_text(), only)

    def build(place: Path) -> None:
        (place / "pinned.txt").write_text(pinned)
        platforms = [word for name in _PLATFORMS[architecture] for word in ("--platform", name)]
        subprocess.run(
            [
                *(*_pip("install"), "--target", str(place / "site"), *platforms),
                *("--python-version", _PYTHON, "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"),
                *("--abi", "none", "--only-binary=:all:", "--no-deps", "--require-hashes"),
                *("--no-compile", "--requirement", str(place / "pinned.txt")),
            ],
            check=True,
        )

    return cache.kept(f"packages-{architecture}-{lock}", pinned, build) / "site"


def pins(lock: str, only: tuple[str, ...]) -> str:
    """The blocks of a lock file, all or those of some packages."""
    blocks: list[list[str]] = []
    for line in lock.splitlines():
        if line[:1].isalnum():
            blocks.append([])
        if blocks and line[:1] not in ("#", ""):
            blocks[-1].append(line)
    chosen = [block for block in blocks if not only or block[0].partition("==")[0] in only]
    return "".join(f"{line}\n" for block in chosen for line in block)


def _pip(verb: str) -> list[str]:
    python = str(_TOOLS) if _TOOLS.exists() else sys.executable
    return ["nice", python, "-m", "pip", verb, "--quiet", "--quiet", "--disable-pip-version-check", "--no-input"]
