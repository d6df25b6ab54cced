"""The report: what it holds, how it is written, and what of it is signed.

``report.json`` is ``{"format", "report", "signature", "key_id", "public_key"}``. The signature, Ed25519 for the purpose
``skyrack acceptance 1``, covers the canonical bytes of ``report``: JSON with sorted keys, without blanks, in UTF-8. In
``report`` stands the SHA-256 of ``report.html``, so that the one signature covers both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, Final

from hil.acceptance.model import StepResult, Verdict, accepted, to_builtins
from skyrack.errors import UserError
from skyrack.signing import SigningKey

ACCEPTANCE: Final = "skyrack acceptance 1"
"""Purpose of a signature over an acceptance report."""
FORMAT: Final = "skyrack acceptance report 1"
JSON, HTML = "report.json", "report.html"
_FEATURES: Final = ("identity", "bench", "procedure")


@dataclass(frozen=True, slots=True)
class Subject:
    """What was examined, when, by which procedure.

    ``identity`` is what the board says of itself; ``bench`` name, board and digest of the bench file; ``procedure``
    name, version and digest; times are ISO 8601, UTC.
    """

    identity: Mapping[str, Any]
    bench: Mapping[str, str]
    procedure: Mapping[str, Any]
    began: str
    ended: str


def document(subject: Subject, results: Sequence[StepResult]) -> dict[str, Any]:
    """The report, before the HTML's hash stands in it."""
    return {
        "accepted": accepted(tuple(results)),
        "began": subject.began,
        "ended": subject.ended,
        **{name: dict(getattr(subject, name)) for name in _FEATURES},
        "steps": [to_builtins(result) for result in results],
    }


def canonical(report: Mapping[str, Any]) -> bytes:
    """The bytes that are signed.

    Raises:
        ValueError: a number is none (nan, infinite).
    """
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def render(report: Mapping[str, Any], results: Sequence[StepResult], provisioner: str) -> str:
    """The page, self-contained."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(package_files(__package__).joinpath("report.html.j2").read_text("utf-8"))
    pictures = {result.name: result.pictures for result in results}
    counts = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    return template.render(
        report=report, results=results, pictures=pictures, provisioner=provisioner, counts=counts, verdicts=Verdict
    )


def write(directory: Path, report: dict[str, Any], results: Sequence[StepResult], key: SigningKey) -> Path:
    """Write both files, signed; the path of ``report.json``.

    Raises:
        UserError: the directory cannot be written.
    """
    html = render(report, results, key.key_id).encode()
    signed = {**report, "html_sha256": hashlib.sha256(html).hexdigest()}
    envelope = {
        "format": FORMAT,
        "report": signed,
        "key_id": key.key_id,
        "public_key": key.public.hex(),
        "signature": key.sign(ACCEPTANCE, canonical(signed)).hex(),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / HTML).write_bytes(html)
        path = directory / JSON
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(envelope, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{directory}: the report cannot be written ({error.strerror})") from error
    return path
