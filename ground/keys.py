"""The list of keys: replaced by an authority, followed by the ground, and brought to every satellite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ground.connection import Connection
from ground.lifecycle import Note, note
from ground.orders import payload_of
from ground.stages import stage_name
from ground.store import key_lists
from skyrack.errors import UserError
from skyrack.orders import Verified, signer_text
from skyrack.signing import KeyEntry, Right
from skyrack.v1 import backhaul_pb2, common_pb2
from skyrack.v1.gateway_pb2 import LinkStatus
from skyrack.v1.options_pb2 import STREAM_STATUS

if TYPE_CHECKING:
    from ground.segment import GroundSegment

__all__ = ["KeyBook", "KeyRecord", "KeysRecord", "SatelliteKeys"]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key that is believed; times are mission seconds, 0 is always."""

    name: str
    key_id: str
    public: str
    rights: tuple[str, ...]
    not_before_seconds: float
    not_after_seconds: float
    is_valid: bool


@dataclass(frozen=True, slots=True)
class SatelliteKeys:
    """What a satellite knows of the list."""

    satellite: str
    # The version that it reported last; None when it has not.
    version: int | None
    # What it answered to the list in force: COMPLETED, FAILED; empty while nothing was heard.
    answer: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeysRecord:
    """The list in force on the ground."""

    version: int
    keys: tuple[KeyRecord, ...]
    revoked: tuple[str, ...]
    satellites: tuple[SatelliteKeys, ...]


class KeyBook:
    """Takes lists, and tells how far they got."""

    def __init__(self, segment: GroundSegment) -> None:
        self._segment = segment

    async def take(self, order: Verified) -> KeysRecord:
        """Believe a list, and send it to all satellites, or to the one that it is for; the same again changes nothing.

        Raises:
            UserError: it is not newer than the one in force, or who believed it could never be told anything again.
        """
        segment, now = self._segment, self._segment.clock.now()
        ring = segment.orders.ring
        try:
            successor = ring.successor(order.order.keys, now)
        except ValueError as error:
            raise UserError(str(error)) from None
        if successor is not None:
            self._check(successor.get(segment.orders.key_id))
        wanted = order.order.destination
        if wanted and wanted not in segment.picture:
            raise UserError(f"there is no satellite {wanted}")
        satellites = [wanted] if wanted else list(segment.picture.names)
        payload = payload_of(order.data)

        def transaction(connection: Connection) -> None:
            if not key_lists.insert(connection, order, signer_text(order), now) and successor is None:
                return
            for satellite in satellites:
                segment.enqueue(connection, satellite, STREAM_STATUS, payload, 0.0)
            text = f"key list {order.order.keys.version}, signed by {signer_text(order)}"
            note(connection, Note("key_list", common_pb2.SEVERITY_WARNING, text), now)
            if successor is not None:
                # Last: whatever fails before leaves the old list in force, here and in the file.
                if segment.keyring_file is not None:
                    successor.save(segment.keyring_file)
                ring.replace(successor)

        await segment.database.write(transaction)
        segment.kick(satellites, [STREAM_STATUS])
        segment.changed.beat()
        return await self.record()

    def _check(self, own: KeyEntry | None) -> None:
        if own is None or Right.RELAY not in own.rights:
            key_id = self._segment.orders.key_id
            raise UserError(
                f"a key list without this ground's key {key_id} as a relay: it could carry no order any more"
            )

    async def record(self) -> KeysRecord:
        """The list in force, and how far it got."""
        segment, ring = self._segment, self._segment.orders.ring
        now = segment.clock.now()
        said = await segment.database.read(partial(key_lists.reports, version=ring.version))
        keys = [
            KeyRecord(
                entry.name,
                entry.key_id,
                entry.public.hex(),
                tuple(sorted(entry.rights)),
                entry.not_before_seconds,
                entry.not_after_seconds,
                not entry.problem_at(now),
            )
            for entry in sorted(ring, key=lambda entry: (entry.name, entry.key_id))
        ]
        satellites = []
        for name in segment.picture.names:
            report = said.get(name)
            answer = stage_name(report.stage) if report else ""
            satellites.append(SatelliteKeys(name, self._version(name), answer, report.reason if report else ""))
        return KeysRecord(ring.version, tuple(keys), tuple(sorted(ring.revoked)), tuple(satellites))

    def _version(self, satellite: str) -> int | None:
        messages = (message for _, _, message in self._segment.picture.messages(satellite))
        found = [message.key_list_version for message in messages if isinstance(message, LinkStatus)]
        return found[0] if found else None


def take_report(connection: Connection, source: str, report: backhaul_pb2.OrderReport, now: float) -> bool:
    """What a satellite made of a list; False when the report is on another kind of order."""
    if not key_lists.take_report(connection, source, report):
        return False
    if report.stage != backhaul_pb2.TELECOMMAND_STAGE_COMPLETED:
        text = f"{source} does not believe the new list of keys: {report.reason}"
        note(connection, Note("key_list_refused", common_pb2.SEVERITY_ERROR, text, source), now)
    return True
