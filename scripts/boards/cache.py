"""Where roots, kernels and images are kept: built once per recipe, then found by the recipe's digest."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_UNUSED_SECONDS = 86_400.0
REPOSITORY = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """The cache: ``$SKYRACK_BOARDS_CACHE``, or ``skyrack-boards`` in the user's cache folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    chosen = Path(os.environ.get("SKYRACK_BOARDS_CACHE") or caches / "skyrack-boards")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time does what is called ``name``; others wait."""
    with (folder() / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process makes the {name}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept(kind: str, recipe: object, build: Callable[[Path], None]) -> Path:
    """The folder that ``build`` filled from this recipe, now or in an earlier run; what other recipes left goes.

    Not at once: a machine that is on may still stand on what an older recipe made.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = folder() / f"{kind}-{digest}"
    if place.is_dir():
        os.utime(place)
        return place
    with locked(kind):
        if place.is_dir():
            return place
        began = time.monotonic()
        say(f"making the {kind} (once)")
        unfinished = Path(tempfile.mkdtemp(prefix=f"unfinished-{kind}-", dir=folder()))
        unfinished.chmod(0o755)
        try:
            build(unfinished)
            for old in folder().glob(f"{kind}-????????????????"):
                if time.time() - old.stat().st_mtime > _UNUSED_SECONDS:
                    shutil.rmtree(old)
            unfinished.rename(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        say(f"made the {kind} in {time.monotonic() - began:.0f} s: {size_megabytes(place):.0f} MB")
    return place


def size_megabytes(place: Path) -> float:
    """What a folder takes on disk: sparse files count what they hold."""
    blocks = sum(entry.lstat().st_blocks for entry in place.rglob("*")) if place.is_dir() else place.stat().st_blocks
    return blocks * 512 / 1e6


def say(text: str) -> None:
    """Tell the person what is under way; results go to standard output."""
    print(text, file=sys.stderr, flush=True)
