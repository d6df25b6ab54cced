"""What the ground tells about jobs, telecommands, events and satellites: plain records, times in mission seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "CommandStage",
    "EventRecord",
    "JobOutput",
    "JobRecord",
    "JobStep",
    "NewTokenRecord",
    "SatelliteRecord",
    "TelecommandRecord",
    "TokenRecord",
]


@dataclass(frozen=True, slots=True)
class JobStep:
    """One step of a job's life: a status that a satellite sent, or something the ground decided."""

    attempt: int
    version: int | None
    state: str
    satellite: str
    node: str
    reason: str
    progress_ratio: float
    mission_time_seconds: float
    received_seconds: float
    # Stale and illegal statuses are kept, and change nothing.
    is_applied: bool


@dataclass(frozen=True, slots=True)
class JobOutput:
    """A file that a job made, as its satellite describes it."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job, where it stands, and, when asked for, how it came there."""

    job_id: str
    name: str
    submitter: str
    command: tuple[str, ...]
    power_watts: float
    cores: int
    priority: int
    deadline_seconds: float
    state: str
    is_final: bool
    attempt: int
    satellite: str
    node: str
    lease_end_seconds: float
    reason: str
    cancel_requested: bool
    progress_ratio: float
    energy_joules: float
    run_seconds: float
    preemptions: int
    exit_code: int
    stderr_tail: str
    outputs: tuple[JobOutput, ...]
    package_sha256: str
    package_bytes: int
    result_sha256: str
    result_bytes: int
    # When all of the result lay on the ground, verified; None until then.
    result_received_seconds: float | None
    result_problem: str
    submitted_seconds: float
    placed_seconds: float | None
    started_seconds: float | None
    finished_seconds: float | None
    changed_seconds: float
    # Grows with every change of any job.
    revision: int
    # Why a job that waits on the ground does.
    waiting_reason: str = ""
    # Of package_bytes, what its satellite has; of result_bytes, what lies here.
    package_received_bytes: int = 0
    result_received_bytes: int = 0
    # Who stands for it: a key's name, or "ground for alice".
    signed_by: str = ""
    # Its satellite vouches for how it ended: hashes, joules, seconds.
    is_verified: bool = False
    history: tuple[JobStep, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Nothing more will come: final, and its result, where it has one, is here or not to be had."""
        is_complete = self.result_received_seconds is not None or bool(self.result_problem)
        return self.is_final and (not self.result_sha256 or is_complete)


@dataclass(frozen=True, slots=True)
class CommandStage:
    """A stage that a telecommand reached."""

    stage: str
    reason: str
    mission_time_seconds: float


@dataclass(frozen=True, slots=True)
class TelecommandRecord:
    """A telecommand and the stages it went through."""

    command_id: str
    satellite: str
    service: str
    method: str
    arguments: str
    submitter: str
    created_seconds: float
    not_after_seconds: float
    stage: str
    is_final: bool
    reason: str
    # The answer, where the command has one other than yes or no; text form.
    response: str
    revision: int
    # Who stands for it: names of keys, or "ground for alice".
    signed_by: str = ""
    stages: tuple[CommandStage, ...] = ()


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened on a satellite, or, without a satellite, on the ground."""

    id: int
    satellite: str
    source: str
    name: str
    severity: str
    text: str
    mission_time_seconds: float
    received_seconds: float
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SatelliteRecord:
    """What the ground knows of a satellite, at a glance. ``None`` is what has not been heard yet."""

    name: str
    is_reachable: bool
    heard_seconds: float | None
    age_seconds: float | None
    mode: str
    link: str
    # Visible part of the Sun's disc, 0 in umbra.
    sunlit_ratio: float | None
    state_of_charge_ratio: float | None
    compute_power_watts: float | None
    compute_heat_watts: float | None
    draw_watts: float | None
    chip_maximum_celsius: float | None
    free_nodes: int | None
    jobs_open: int
    next_contact_seconds: float | None
    outbox_items: int


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, without its secret."""

    token_id: str
    name: str
    role: str
    created_seconds: float
    # 0 for one that does not end.
    end_seconds: float
    revoked_seconds: float | None
    is_valid: bool


@dataclass(frozen=True, slots=True)
class NewTokenRecord:
    """A token that was just made; the secret is shown this once."""

    secret: str
    token: TokenRecord
