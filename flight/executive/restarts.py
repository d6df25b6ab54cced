"""When an ended service is started again, and when that has been tried often enough."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Exponential backoff with a bound, in seconds of the host: what is restarted are processes.

    At most ``maximum_restarts`` within any ``window_seconds``; the delay before the first of them is
    ``initial_delay_seconds``, before each further one ``factor`` times as long.
    """

    initial_delay_seconds: float = 0.2
    factor: float = 2.0
    maximum_delay_seconds: float = 10.0
    maximum_restarts: int = 6
    window_seconds: float = 120.0

    def next(self, history: tuple[float, ...], now: float) -> tuple[tuple[float, ...], float | None]:
        """Decide on a service that ended at ``now``.

        Args:
            history: times of restarts so far, as this function returned them.
            now: time at which the service ended, on the same scale.

        Returns:
            The new history, and the delay before the restart; ``None`` is no more restarts.
        """
        recent = tuple(time for time in history if now - time < self.window_seconds)
        if len(recent) >= self.maximum_restarts:
            return recent, None
        delay = min(self.initial_delay_seconds * self.factor ** len(recent), self.maximum_delay_seconds)
        return (*recent, now), delay


class Escalation(Enum):
    """What a service that failed for good leads to."""

    SAFE_MODE = "enter the safe mode, and try the service anew"
    REBOOT = "reboot the satellite"
    GIVE_UP = "leave the service off"


# Without these the satellite cannot keep itself alive or be reached; without the others it can wait for a person.
ESSENTIAL = frozenset({"navigation", "power", "thermal", "gateway"})


def escalate(service: str, *, safe: bool, recent_reboots: int, maximum_reboots: int) -> Escalation:
    """Next rung of the ladder: restarts, then the safe mode, then a reboot, each bounded."""
    if not safe:
        return Escalation.SAFE_MODE
    if service in ESSENTIAL and recent_reboots < maximum_reboots:
        return Escalation.REBOOT
    return Escalation.GIVE_UP
