"""What an id and a job must be before the ground takes them. Plain values in, sentences out."""

from __future__ import annotations

import re
from typing import Final

from skyrack import jobfile
from skyrack.v1 import job_pb2

__all__ = ["ID_FORM", "is_id", "job_problem"]

ID_FORM: Final = "must be letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
"""What ``is_id`` asks for, in words."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_id(text: str) -> bool:
    """Whether jobs, telecommands and sequences may be called so."""
    return _ID.fullmatch(text) is not None


def job_problem(spec: job_pb2.JobSpec) -> str:
    """What no job may be; empty when all is well."""
    resources = spec.resources
    checks = (
        (is_id(spec.job_id), f'id "{spec.job_id}" {ID_FORM}'),
        (bool(spec.command) or not spec.package_bytes, "it has no command"),
        (0 < resources.power_watts < 1e9, f"power_watts is {resources.power_watts:g}, must be more than 0"),
        (resources.cores >= 1, "cores is 0, must be at least 1"),
        (spec.priority <= 100, f"priority is {spec.priority}, must be from 0 to 100"),
        (0 <= resources.expected_seconds < 1e9, "expected_seconds must not be negative"),
        (0 <= resources.limit_seconds < 1e9, "limit_seconds must not be negative"),
        (0 <= spec.lifetime_seconds < 1e9, "lifetime_seconds must not be negative"),
        (0 <= spec.grace_seconds < 1e6, "grace_seconds must not be negative"),
        (len(spec.package_sha256) == 32 or not spec.package_bytes, "package_sha256 must be 32 bytes"),
        (spec.package_bytes <= jobfile.PACKAGE_LIMIT_BYTES, "its package is too large"),
        (len(spec.SerializeToString()) < 65_536, "its specification is larger than 64 KiB"),
    )
    return next((text for is_right, text in checks if not is_right), "")
