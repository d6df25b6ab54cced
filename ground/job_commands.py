"""``skyrack submit``, ``jobs``, ``fetch`` and ``cancel``."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.live import Live

from ground import present, signer
from ground.client import GroundError, SkyrackClient, UnreachableError, find_ground, is_settled
from ground.signer import local_key
from ground.transfers import RESULT_LIMIT_BYTES
from skyrack import archive, jobfile
from skyrack.v1 import job_pb2

__all__ = ["as_json", "asking", "at_ground", "cancel", "fetch", "jobs", "submit"]

_WAIT_SECONDS: Final = 20.0
_RECEIPT: Final = "receipt.json"

at_ground = click.option("--ground", "url", metavar="URL", default="", help="Address of the ground to ask.")
as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")


@contextmanager
def asking(url: str) -> Iterator[SkyrackClient]:
    """Ask the ground; that none answers is no bad input, and ends with exit code 1."""
    try:
        with SkyrackClient(find_ground(url)) as client:
            yield client
    except UnreachableError as error:
        raise click.ClickException(str(error)) from None
    except GroundError as error:
        if error.status >= 500:
            raise click.ClickException(str(error)) from None
        raise


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--id", "job_id", default="", help="Id of the job; the same again changes nothing. [default: made up]")
@click.option("--wait", is_flag=True, help="Wait until all are over and their results are here.")
@local_key
@as_json
@at_ground
def submit(files: tuple[Path, ...], job_id: str, wait: bool, key_file: Path | None, is_json: bool, url: str) -> int:
    """Submit the jobs that FILES (job.toml) describe.

    All files are checked before any is submitted. With --wait the exit code is 1 unless all jobs complete.
    """
    if job_id and len(files) > 1:
        raise click.UsageError("--id names one job; submit one file with it")
    packages = [jobfile.package(path) for path in files]
    with asking(url) as client:
        records = [
            _submit(client, spec, package, job_id or f"{spec.name[:56]}-{secrets.token_hex(3)}", key_file)
            for spec, package in packages
        ]
        if wait:
            records = _wait(client, [record["job_id"] for record in records], show=not is_json)
        elif not is_json:
            for record in records:
                click.echo(f"{record['job_id']} submitted")
    if is_json:
        present.print_json(records)
    return int(wait and any(record["state"] != "COMPLETED" for record in records))


def _submit(
    client: SkyrackClient, spec: job_pb2.JobSpec, package: bytes, job_id: str, key_file: Path | None
) -> dict[str, Any]:
    if key_file is None:
        return client.submit(spec, package, job_id)
    return signer.submit(client, key_file, spec, package, job_id)


def _cancel(client: SkyrackClient, name: str, reason: str, key_file: Path | None) -> dict[str, Any]:
    if key_file is None:
        return client.cancel(name, reason)
    return signer.cancel(client, key_file, f"cancel-{secrets.token_hex(6)}", name, reason)


def _wait(client: SkyrackClient, ids: Sequence[str], *, show: bool) -> list[dict[str, Any]]:
    out = present.console()
    records = {job_id: client.job(job_id) for job_id in ids}
    newest = max(record["revision"] for record in records.values())
    told: dict[str, str] = {}
    is_live = show and out.is_terminal
    with Live(console=out, auto_refresh=False, transient=False, redirect_stdout=False) as live:
        while True:
            if is_live:
                live.update(present.jobs(list(records.values())), refresh=True)
            for job_id, record in records.items():
                if show and not is_live and told.get(job_id) != record["state"]:
                    out.print(f"{job_id} {record['state']} {record['satellite']} {record['reason']}".rstrip())
                told[job_id] = record["state"]
            unsettled = [record for record in records.values() if not is_settled(record)]
            if not unsettled:
                return list(records.values())
            # Other people's jobs change, too: what was seen of them once must not end the next wait at once.
            seen = client.jobs(1000, after_revision=newest, wait_seconds=_WAIT_SECONDS)
            newest = max((record["revision"] for record in seen), default=newest)
            for record in unsettled:
                records[record["job_id"]] = client.job(record["job_id"])


@click.command()
@click.argument("job", required=False)
@click.option("--watch", is_flag=True, help="Keep the table up to date until interrupted.")
@click.option("--open", "only_open", is_flag=True, help="Only jobs that are not over.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@as_json
@at_ground
def jobs(job: str | None, watch: bool, only_open: bool, limit: int, is_json: bool, url: str) -> None:
    """List jobs, or tell the life of one JOB."""
    with asking(url) as client:
        if job is not None:
            record = client.job(job)
            if is_json:
                present.print_json(record)
            else:
                present.job(record, present.console())
            return
        records = client.jobs(limit, only_open=only_open)
        if is_json:
            present.print_json(records)
        elif not watch:
            present.console().print(present.jobs(records))
        else:
            _watch_jobs(client, records, limit, only_open=only_open)


def _watch_jobs(client: SkyrackClient, records: list[dict[str, Any]], limit: int, *, only_open: bool) -> None:
    with Live(console=present.console(), auto_refresh=False) as live:
        while True:
            live.update(present.jobs(records), refresh=True)
            newest = max((record["revision"] for record in records), default=-1)
            records = client.jobs(limit, only_open=only_open, after_revision=newest, wait_seconds=_WAIT_SECONDS)


@click.command()
@click.argument("job")
@click.option("--to", "directory", type=click.Path(path_type=Path), help="Folder to unpack into. [default: ./JOB]")
@click.option("--wait", is_flag=True, help="Wait until the job is over and its result is here.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@as_json
@at_ground
def fetch(job: str, directory: Path | None, wait: bool, force: bool, is_json: bool, url: str) -> None:
    """Bring what JOB made into a folder, verified."""
    target = directory or Path(job)
    if target.exists() and not target.is_dir():
        raise click.UsageError(f"--to {target}: this is a file, a folder is needed")
    if target.is_dir() and any(target.iterdir()) and not force:
        raise click.UsageError(f"{target} is not empty: choose another folder with --to, or add --force")
    with asking(url) as client:
        record = _wait(client, [job], show=not is_json)[0] if wait else client.job(job)
        if not record["result_sha256"] or record["result_received_seconds"] is None:
            raise click.ClickException(_no_result(record))
        content = client.result(job)
        receipt = client.receipt(job) if record["is_verified"] else None
    if hashlib.sha256(content).hexdigest() != record["result_sha256"]:
        raise click.ClickException(f"what came of job {job} is damaged; fetch it again")
    names = archive.unpack(content, target, RESULT_LIMIT_BYTES)
    if receipt is not None and _RECEIPT not in names:
        (target / _RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n")
        names.append(_RECEIPT)
    if is_json:
        present.print_json({"job_id": job, "directory": str(target), "files": names, "is_verified": bool(receipt)})
        return
    for name in names:
        click.echo(str(target / name))
    if receipt is not None:
        took = f"{receipt['energy_joules']:,.0f} J in {receipt['run_seconds']:,.0f} s"
        click.echo(f"verified: {receipt['satellite']} vouches for it with key {receipt['signature']['key_id']}; {took}")


def _no_result(record: dict[str, Any]) -> str:
    job = record["job_id"]
    if record["result_problem"]:
        return f"job {job}: {record['result_problem']}"
    if record["result_sha256"]:
        return f"the result of job {job} is still coming down; add --wait"
    if not record["is_final"]:
        return f"job {job} is {record['state']}, it has no result yet; add --wait"
    return f"job {job} is {record['state']} and left no result: {record['reason'] or 'no reason given'}"


@click.command()
@click.argument("names", metavar="JOB...", nargs=-1, required=True)
@click.option("--reason", default="cancelled by a person", help="Why.")
@local_key
@as_json
@at_ground
def cancel(names: tuple[str, ...], reason: str, key_file: Path | None, is_json: bool, url: str) -> int:
    """Stop jobs and end them as cancelled. A job that is over stays as it is, and the exit code is 1."""
    with asking(url) as client:
        records = [_cancel(client, name, reason, key_file) for name in names]
    if is_json:
        present.print_json(records)
    for record in [] if is_json else records:
        over = record["is_final"] and record["state"] != "CANCELLED"
        state = f"is over already: {record['state']}" if over else "is cancelled"
        if not record["is_final"]:
            state = f"will be cancelled; {record['satellite']} has it"
        click.echo(f"{record['job_id']} {state}")
    return int(any(record["is_final"] and record["state"] != "CANCELLED" for record in records))
