"""Tells Prometheus where a run's metrics are: the file that ``deploy/prometheus/prometheus.yml`` looks for."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from hil.sil.instance import Instance, InstanceRecord

__all__ = ["path_of", "targets_of", "write"]


def path_of(instance: Instance) -> Path:
    """Beside the instances' directories: Prometheus takes a pattern in a file's name, and in no directory's."""
    return instance.directory.parent / f"targets-{instance.name}.json"


def targets_of(record: InstanceRecord) -> list[dict[str, object]]:
    """The ground and each satellite, told apart by the label ``job``."""
    found = [("ground", record.ground_url), *(("satellite", url) for url in record.metrics.values())]
    return [{"targets": [urlsplit(url).netloc], "labels": {"job": job, "run": record.name}} for job, url in found]


def write(instance: Instance, record: InstanceRecord) -> None:
    """Replace the file in one step; it goes with the run."""
    path = path_of(instance)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(targets_of(record), indent=1) + "\n")
    temporary.replace(path)
