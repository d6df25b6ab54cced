"""TOML files: read into msgspec structs, with errors in one sentence, and found where Skyrack ships them."""

from __future__ import annotations

import math
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from skyrack.errors import UserError
from skyrack.files_explain import explain

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = {"jobs": "examples/jobs", "sequences": "examples/sequences"}


class FileError(UserError):
    """A file that cannot be used; the message names the file, the key, the value and what would be right.

    Raise it for checks that a struct cannot express:
    ``FileError(path, "program must exist", key="program", value="train.py")``.
    """

    def __init__(self, source: Path | str, problem: str, *, key: str = "", value: object = None) -> None:
        self.source = str(source)
        self.key = key
        self.value = value
        self.problem = problem
        where = f"{self.source}: {key}" if key else self.source
        what = f" is {show(value)}" if key and value is not None else ""
        super().__init__(f"{where}{what}: {problem}")


def show(value: object) -> str:
    """Write a value the way a TOML file does, shortened."""
    limit = 60
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def suggest(name: str, known: Iterable[str]) -> str:
    """Say what a mistyped name may have meant: ``did you mean "watts"?``, or else which names there are."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known are " + ", ".join(names) if names else "there are none"


def load(path: Path | str, struct: type[T]) -> T:
    """Read a TOML file into ``struct``.

    Raises:
        FileError: the file cannot be read, is not TOML, or does not fit ``struct``.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileError(path, "there is no such file") from None
    except IsADirectoryError:
        raise FileError(path, "this is a directory, a TOML file is needed") from None
    except UnicodeDecodeError:
        raise FileError(path, "this is not UTF-8 text, a TOML file is needed") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    return loads(text, struct, source=path)


def loads(text: str, struct: type[T], source: Path | str) -> T:
    """Read TOML text into ``struct``; ``source`` names it in errors.

    Raises:
        FileError: the text is not TOML, or does not fit ``struct``.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(source, f"this is not valid TOML: {error}") from None
    return convert(data, struct, source)


def convert(data: dict[str, Any], struct: type[T], source: Path | str) -> T:
    """Turn tables that were read already into ``struct``.

    Raises:
        FileError: the tables do not fit ``struct``.
    """
    _refuse_infinite(data, "", source)
    try:
        return msgspec.convert(data, struct)
    except msgspec.ValidationError as error:
        found = explain(str(error), data, struct)
        problem = found.problem
        if found.unknown_name is not None:
            problem = f"{problem}; {suggest(found.unknown_name, found.known_names)}"
        raise FileError(source, problem, key=found.key, value=found.value) from None


def _refuse_infinite(value: object, key: str, source: Path | str) -> None:
    """TOML knows nan and inf, and nan slips through every range check."""
    if isinstance(value, float) and not math.isfinite(value):
        raise FileError(source, "must be a finite number", key=key, value=value)
    if isinstance(value, dict):
        for name, member in value.items():
            _refuse_infinite(member, f"{key}.{name}" if key else name, source)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _refuse_infinite(member, f"{key}[{index}]", source)


def shipped_directory(kind: str) -> Path:
    """Where the files of a kind ("satellites", "constellations", "jobs") lie: in a checkout, or in a wheel."""
    installed = _PACKAGE / "shipped" / kind
    return installed if installed.is_dir() else _PACKAGE.parent.parent / _IN_CHECKOUT.get(kind, f"deploy/{kind}")


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped files of a kind, without ``.toml``, sorted."""
    return sorted(path.stem for path in shipped_directory(kind).glob("*.toml"))


def shipped(kind: str, name: str) -> Path:
    """Find a shipped file by kind and name: ``shipped("satellites", "ai1")``.

    Raises:
        FileError: no file of this kind has this name; the message lists those there are.
    """
    path = shipped_directory(kind) / f"{name.removesuffix('.toml')}.toml"
    if not path.is_file():
        problem = f"no such file is shipped among the {kind}; {suggest(name, shipped_names(kind))}"
        raise FileError(name, problem)
    return path


def find(kind: str, name_or_path: str, beside: Path | None = None) -> Path:
    """Find a file that a person named: a path (also relative to ``beside``'s directory), else a shipped name.

    Raises:
        FileError: there is neither such a file nor a shipped one of this name.
    """
    named = Path(name_or_path)
    if named.is_file():
        return named
    if beside is not None and (beside.parent / named).is_file():
        return beside.parent / named
    if named.suffix == ".toml" and len(named.parts) > 1:
        raise FileError(name_or_path, "there is no such file")
    return shipped(kind, name_or_path)
