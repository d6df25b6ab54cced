"""Accepts one board: rig, procedure, report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from hil.acceptance import report
from hil.acceptance.live import live_rig
from hil.acceptance.procedure import Procedure, load
from hil.acceptance.rig import Session
from hil.acceptance.run import Watcher, run_procedure
from hil.boards.file import load_bench
from hil.provision.enrol import provisioner


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked for; see ``skyrack hil accept --help``."""

    bench: Path
    board: str = ""
    directory: Path | None = None
    steps: tuple[str, ...] = ()
    procedure: Path | None = None
    references: Mapping[str, float] = field(default_factory=dict)
    allow_reset: bool = False
    keys: Path


async def accept_board(request: Request, watcher: Watcher) -> tuple[Path, dict[str, Any]]:
    """Run the procedure and write the signed report; its path, and what is in it.

    Raises:
        UserError: bad input, or the board cannot be reached.
    """
    procedure = load(request.procedure, request.steps)
    key = provisioner(request.keys)
    began = datetime.now(UTC)
    stamp = began.strftime("%Y%m%dT%H%M%SZ")
    work = request.directory or Path(f"acceptance-{request.board or load_bench(request.bench).name}-{stamp}")
    work.mkdir(parents=True, exist_ok=True)
    async with live_rig(request.bench, request.board, work, allow_reset=request.allow_reset) as rig:
        rig.tell = watcher.tells
        identity = dict(await rig.ask("identity"))
        identity.pop("received", None)
        identity.setdefault("satellite", rig.board.satellite)
        session = Session(rig, request.references, request.allow_reset)
        results = await run_procedure(procedure, session, watcher)
        bench_name = load_bench(request.bench).name
        board = rig.board.name
    subject = report.Subject(
        identity=identity,
        bench={"name": bench_name, "board": board, "sha256": hashlib.sha256(request.bench.read_bytes()).hexdigest()},
        procedure=_told(procedure),
        began=began.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    document = report.document(subject, results)
    return report.write(work, document, results, key), document


def _told(procedure: Procedure) -> dict[str, Any]:
    content = json.dumps(msgspec.to_builtins(procedure), sort_keys=True).encode()
    return {
        "name": procedure.name,
        "version": procedure.version,
        "steps": [step.name for step in procedure.steps],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
