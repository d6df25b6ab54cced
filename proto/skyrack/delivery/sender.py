"""The sending side of delivery to one peer: what to send now, and when to send it again. No I/O, no clock.

The outbox on disk is the truth; a ``Sender`` knows the oldest rows of each stream (the window) and the fate of what
it sent. It can be thrown away and rebuilt from the outbox at any moment: at worst something is sent twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from skyrack.delivery.settings import DeliverySettings

_ITEM_OVERHEAD_BYTES: Final = 48
_BACKOFF_LIMIT: Final = 16


class OutboxRow(NamedTuple):
    """One item or skip record of the outbox, without its payload."""

    sequence: int
    last_sequence: int
    """Equal to ``sequence`` but for skip records."""
    size_bytes: int
    skip_reason: int
    """0 for an item."""
    accepted_seconds: float
    not_after_seconds: float


@dataclass(frozen=True, slots=True)
class Sent:
    """An item that has left for the first time."""

    destination: str
    stream: int
    sequence: int
    """As ``send`` and ``enqueue`` returned it."""
    payload: bytes


@dataclass(slots=True)
class _Flight:
    row: OutboxRow
    attempts: int = 0
    sent_at: float = 0.0
    due_at: float = 0.0
    clean: bool = True
    """Sent once, so that its acknowledgement measures a round trip (Karn)."""
    backoff: int = -1
    """Of the time-out that it waits for; -1 for one that is no measured time-out."""

    @property
    def cost_bytes(self) -> int:
        return self.row.size_bytes + _ITEM_OVERHEAD_BYTES


class RoundTrip:
    """Retransmission time-out from measured round trips (Jacobson and Karels 1988, as in RFC 6298).

    Each time-out doubles the next, for all that is sent from then on, until an item that was sent only once is
    acknowledged (RFC 6298, 5.5 to 5.7): else round trips that grew beyond the time-out could never be measured, and
    everything would be sent again and again.
    """

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._smoothed: float | None = None
        self._variation = 0.0
        self.backoff = 0
        """How often the time-out was doubled since the last measurement."""

    def measured(self, seconds: float) -> None:
        """Learn from one round trip."""
        self.backoff = 0
        if self._smoothed is None:
            self._smoothed, self._variation = seconds, seconds / 2
            return
        self._variation += 0.25 * (abs(self._smoothed - seconds) - self._variation)
        self._smoothed += 0.125 * (seconds - self._smoothed)

    def timed_out(self, backoff: int) -> None:
        """What was sent while the time-out was doubled ``backoff`` times was not acknowledged in time.

        All that was on the way together counts as one.
        """
        if backoff == self.backoff:
            self.backoff = min(backoff + 1, _BACKOFF_LIMIT)

    def timeout(self) -> float:
        """Seconds to wait for the acknowledgement of what is sent now."""
        settings = self._settings
        if self._smoothed is None:
            base = settings.retransmit_initial_seconds
        else:
            base = max(settings.retransmit_minimum_seconds, self._smoothed + 4 * self._variation)
        scaled: float = base * 2**self.backoff
        return min(scaled, settings.retransmit_maximum_seconds)


@dataclass(slots=True)
class _Window:
    flights: dict[tuple[int, int], _Flight] = field(default_factory=dict)
    stale: bool = True
    """The outbox has changed since the rows were read."""
    complete: bool = False
    """All rows of the outbox are here."""

    def in_flight(self) -> Iterator[_Flight]:
        return (flight for flight in self.flights.values() if flight.attempts)


class Sender:
    """What goes to one peer."""

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._windows: dict[int, _Window] = {}
        self._round_trip = RoundTrip(settings)
        self._in_flight_bytes = 0
        self.window_bytes = settings.window_bytes
        """Bytes that may be on the way; a slow link gets a small window."""
        self.retransmissions = 0

    def outbox_changed(self, stream: int) -> None:
        """Rows were added to, changed in, or removed from a stream of the outbox."""
        self._windows.setdefault(stream, _Window()).stale = True

    def take_stale(self) -> list[int]:
        """Streams whose oldest rows must be read from the outbox now, most urgent first; then call ``load``."""
        stale = sorted(stream for stream, window in self._windows.items() if window.stale)
        for stream in stale:
            self._windows[stream].stale = False
        return stale

    def load(self, stream: int, rows: Sequence[OutboxRow]) -> None:
        """Take over the oldest rows of a stream (at most ``window_items``) as they stand in the outbox now."""
        window = self._windows.setdefault(stream, _Window())
        known = window.flights
        window.flights = {}
        for row in rows:
            key = (row.sequence, row.last_sequence)
            flight = known.get(key)
            if flight is None or flight.row.skip_reason != row.skip_reason:
                flight = _Flight(row)
            window.flights[key] = flight
        window.complete = len(rows) < self._settings.window_items
        self._count_in_flight()

    def low_sequence(self, stream: int) -> int:
        """The oldest sequence that waits for acknowledgement; 0 when none is known."""
        window = self._windows.get(stream)
        return next(iter(window.flights.values())).row.sequence if window and window.flights else 0

    def due(self, now: float) -> Iterator[tuple[int, list[OutboxRow]]]:
        """What to send now: (stream, rows) for one frame each, most urgent first. Call ``sent`` before the next."""
        for stream in sorted(self._windows):
            while rows := self._frame(stream, self._windows[stream], now):
                yield stream, rows

    def _frame(self, stream: int, window: _Window, now: float) -> list[OutboxRow]:
        settings = self._settings
        policy = settings.policies.get(stream)
        allowance = self.window_bytes * (policy.window_ratio if policy else 0.5)
        rows: list[OutboxRow] = []
        frame_bytes = new_bytes = 0
        for flight in window.flights.values():
            if flight.attempts and flight.due_at > now:
                continue
            if rows and frame_bytes + flight.cost_bytes > settings.frame_bytes:
                break
            if not flight.attempts:
                occupied = self._in_flight_bytes + new_bytes
                if occupied and occupied + flight.cost_bytes > allowance:
                    continue
                new_bytes += flight.cost_bytes
            frame_bytes += flight.cost_bytes
            rows.append(flight.row)
            if len(rows) >= settings.frame_items:
                break
        return rows

    def sent(self, stream: int, rows: Iterable[OutboxRow], now: float) -> list[int]:
        """The rows have left. Returns the sequences of those that left for the first time in this life."""
        flights = self._windows[stream].flights
        first: list[int] = []
        for row in rows:
            flight = flights.get((row.sequence, row.last_sequence))
            if flight is None:
                continue
            if flight.attempts:
                flight.clean = False
                self._round_trip.timed_out(flight.backoff)
                self.retransmissions += 1
            else:
                first.append(row.sequence)
                self._in_flight_bytes += flight.cost_bytes
            flight.attempts += 1
            flight.sent_at = now
            flight.backoff = self._round_trip.backoff
            flight.due_at = now + self._round_trip.timeout()
        return first

    def vanished(self, stream: int, row: OutboxRow) -> None:
        """The row is no longer in the outbox as it was loaded."""
        window = self._windows[stream]
        window.flights.pop((row.sequence, row.last_sequence), None)
        window.stale = True
        self._count_in_flight()

    def acknowledged(self, stream: int, floor: int, beyond: Sequence[tuple[int, int]], now: float) -> None:
        """The peer has stored everything up to ``floor`` and the ranges beyond it."""
        window = self._windows.get(stream)
        if window is None:
            return
        newest: float | None = None
        for key in list(window.flights):
            sequence, last_sequence = key
            if last_sequence > floor and not any(a <= sequence and last_sequence <= b for a, b in beyond):
                continue
            flight = window.flights.pop(key)
            if flight.attempts == 1 and flight.clean:
                newest = flight.sent_at if newest is None else max(newest, flight.sent_at)
        if newest is not None:
            self._round_trip.measured(now - newest)
        if not window.complete:
            window.stale = True
        self._count_in_flight()

    def connected(self, now: float) -> None:
        """A link came up. What was on the way may be lost: send it again soon, unless it is acknowledged first."""
        self._round_trip.backoff = 0  # of another way
        for window in self._windows.values():
            for flight in window.in_flight():
                flight.attempts = 1
                flight.clean = False
                flight.backoff = -1
                flight.due_at = min(flight.due_at, now + self._settings.retransmit_minimum_seconds)

    def next_due(self) -> float | None:
        """When something must be sent again, in loop time; ``None`` when nothing is on the way."""
        times = (flight.due_at for window in self._windows.values() for flight in window.in_flight())
        return min(times, default=None)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent and not yet acknowledged."""
        return self._in_flight_bytes

    def _count_in_flight(self) -> None:
        self._in_flight_bytes = sum(
            flight.cost_bytes for window in self._windows.values() for flight in window.in_flight()
        )
