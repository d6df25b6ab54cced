"""How far a board's monotonic clock is ahead of the bench computer's, and how surely that is known.

A question that leaves at ``sent``, is answered by the board's clock at ``there``, and is back at ``received`` says that
the board is ahead by ``there - (sent + received) / 2``, and is wrong by at most half the time it took: whatever the two
ways took, the answer was given between them (D. L. Mills, RFC 5905, section 8: the smallest round trip is the best
sample). Since then both crystals have drifted apart by what they may: the bound grows with the sample's age.

Pure: the caller reads the clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from skyrack.clock import Anchor

ASSUMED_DRIFT = 100e-6
"""Seconds a second: two crystals of 50 ppm each, with nothing known about either."""
WINDOW = 240
"""Samples that are kept."""
STEER_FLOOR_SECONDS = 200e-6
"""Errors below this are left alone: a round trip on a local network tells no better."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One question; ``sent`` and ``received`` on the bench computer's monotonic clock, ``there`` on the board's."""

    sent: float
    there: float
    received: float

    @property
    def offset(self) -> float:
        """The board's lead, seconds."""
        return self.there - (self.sent + self.received) / 2.0

    @property
    def error(self) -> float:
        """The most that the offset may be wrong by, seconds."""
        return (self.received - self.sent) / 2.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is known now: the board is ahead by ``offset_seconds``, give or take ``error_seconds``.

    ``drift`` is measured between two samples far apart, seconds a second, and ``drift_error`` what it may be wrong by;
    both are ``None`` before there are such samples.
    """

    offset_seconds: float
    error_seconds: float
    round_trip_seconds: float
    drift: float | None = None
    drift_error: float | None = None


class OffsetEstimator:
    """Takes round trips in, says how the clocks stand."""

    def __init__(self, drift: float = ASSUMED_DRIFT, window: int = WINDOW) -> None:
        self._assumed = drift
        self._samples: deque[RoundTrip] = deque(maxlen=window)
        self._first: RoundTrip | None = None
        self.boot_id = ""

    def add(self, sample: RoundTrip, boot_id: str = "") -> None:
        """Take a round trip in; a board that was booted again has another clock, and what was known is forgotten.

        Raises:
            ValueError: it came back before it was sent.
        """
        if sample.received < sample.sent:
            raise ValueError(f"a round trip of {sample.received - sample.sent:g} s cannot be")
        if boot_id != self.boot_id:
            self._samples.clear()
            self._first, self.boot_id = None, boot_id
        self._samples.append(sample)
        # The best of the first tenth of the window is what drift is measured from.
        if self._first is None or (
            sample.error < self._first.error and len(self._samples) <= (self._samples.maxlen or 0) // 10
        ):
            self._first = sample

    def agreement(self, now: float) -> Agreement | None:
        """What is known at ``now`` (the bench computer's monotonic clock); ``None`` before the first round trip."""
        if not self._samples:
            return None
        best = min(self._samples, key=lambda sample: self._bound(sample, now))
        offset, error = best.offset, self._bound(best, now)
        drift = drift_error = None
        first = self._first
        if first is not None and best.sent - first.received > 1.0:
            elapsed = best.sent - first.sent
            drift = (best.offset - first.offset) / elapsed
            drift_error = (best.error + first.error) / elapsed
        return Agreement(offset, error, best.received - best.sent, drift, drift_error)

    def _bound(self, sample: RoundTrip, now: float) -> float:
        return sample.error + self._assumed * max(0.0, now - sample.received)


def anchor_on_board(anchor: Anchor, offset_seconds: float, boot_id: str) -> Anchor:
    """The bench computer's anchor in terms of a board's monotonic clock.

    Raises:
        ValueError: the anchor has no monotonic time to convert.
    """
    if anchor.monotonic_seconds is None:
        raise ValueError("an anchor without monotonic time cannot be told to a board")
    return Anchor(
        anchor.mission_time_seconds,
        anchor.host_time_seconds,
        anchor.rate,
        anchor.monotonic_seconds + offset_seconds,
        boot_id,
    )


def needs_steering(in_force_seconds: float, known: Agreement) -> bool:
    """Whether the offset that a board's anchor was written with is surely wrong by more than is worth while."""
    return abs(known.offset_seconds - in_force_seconds) > max(STEER_FLOOR_SECONDS, known.error_seconds)
